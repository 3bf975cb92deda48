"""The answer's picture and table; its sentences stand above them on the page."""

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.report_tables import group_scores
from uapfp_dist.reporting.sections.groups import claim_threshold
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection

ANSWER = "answer"
"""Name of the section, its table and its figure."""


def answer_section(data: ReportData) -> ReportSection:
    """Whom the method that decides accuses in resample 0, and at most eight methods side by side."""
    method, found = data.report.decided_by, answer(data.report)
    scores = group_scores(data.resamples[0], data.judged, method)
    threshold = claim_threshold(scores, data.alpha)
    shown = {role: values for role, values in scores.items() if role in figures.LABELS}
    notes = {} if threshold is None else accused_counts(data.report)
    picture = figures.group_strips({method: shown}, {method: threshold}, notes)
    return ReportSection(
        ANSWER, "Whom it accuses, and how other methods do", "", {ANSWER: found.table()}, {ANSWER: picture}
    )


def accused_counts(report: EvaluationReport) -> dict[str, str]:
    """Role to how many of its models the verdicts accuse."""
    counts: dict[str, list[bool]] = {}
    for verdict in report.verdicts:
        counts.setdefault(verdict.role, []).append(verdict.claim == "piracy")
    return {role: f"{sum(claims)} of {len(claims)} accused" for role, claims in counts.items()}
