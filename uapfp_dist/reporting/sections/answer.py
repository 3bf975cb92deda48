"""The answer's picture and table; its sentences stand above them on the page."""

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.report_tables import group_scores
from uapfp_dist.reporting.sections.groups import claim_threshold
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.trust import RULES, can_decide

ANSWER = "answer"
"""Name of the section, its table and its figure."""


ROWS = {
    "piracy": "stolen by hard labels",
    "soft_piracy": "stolen by soft labels",
    "homologous": "independent",
    "same_data": "independent, same images",
    "other_victim_piracy": "stolen from another victim",
    "sibling_piracy": "stolen from a sibling",
    "calibration": "calibrate: independent",
    "calibration_piracy": "calibrate: of other victims",
}
"""Role to the name of its row in the picture."""


def answer_section(data: ReportData) -> ReportSection:
    """Whom the method that decides accuses in resample 0, and at most eight methods side by side."""
    scores = group_scores(data.resamples[0], data.judged, data.report.decided_by)
    counts = accused_counts(data.report) if can_decide(data.report) else {}
    names = {role: f"{name}\n{counts[role]}" if role in counts else name for role, name in ROWS.items()}
    picture = figures.accused_strips(scores, names, claim_threshold(scores, data.alpha))
    title = "Whom it accuses, and how other methods do"
    return ReportSection(ANSWER, title, RULES, {ANSWER: answer(data.report).table()}, {ANSWER: picture})


def accused_counts(report: EvaluationReport) -> dict[str, str]:
    """Role to how many of its models the verdicts accuse."""
    claims: dict[str, list[bool]] = {}
    for verdict in report.verdicts:
        claims.setdefault(verdict.role, []).append(verdict.claim == "piracy")
    return {role: f"{sum(found)} of {len(found)} accused" for role, found in claims.items()}
