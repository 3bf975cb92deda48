"""The scores of resample 0, by group."""

from collections.abc import Mapping, Sequence

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.report_tables import group_scores
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.conformal import needed_for


def groups(data: ReportData) -> ReportSection:
    """The score of every test and calibration model of resample 0, with the score above which a claim is made."""
    methods = tuple(dict.fromkeys((data.plan.config.verdict.decided_by, "weighted_errors")))
    scores = {m: group_scores(data.resamples[0], data.judged, m) for m in methods}
    thresholds = {m: claim_threshold(found, data.alpha) for m, found in scores.items()}
    shown = {m: {role: v for role, v in found.items() if role in figures.LABELS} for m, found in scores.items()}
    return ReportSection(
        "groups",
        "Scores by group",
        f"Resample 0, which gives the verdicts: `{methods[0]}`, which decides"
        + (", and `weighted_errors`, the second verdict" if len(methods) > 1 else "")
        + f". Above the line piracy is claimed at alpha {data.alpha:g}. Modified models and other controls stand among "
        f"the verdicts. {data.setting}.",
        {},
        {"groups": figures.group_strips(shown, thresholds)},
    )


def claim_threshold(groups: Mapping[str, Sequence[float]], alpha: float) -> float | None:
    """The score a suspect must exceed for a claim, the largest over the groups; None if no score would do.

    As in `judging.decision`, nothing is claimed without enough independent models.
    """
    if len(groups["calibration"]) < needed_for(alpha):
        return None
    calibrating = [groups[name] for name in ("calibration", "calibration_piracy") if name in groups]
    highest = []
    for scores in calibrating:
        if len(scores) >= needed_for(alpha):
            may_exceed = int(alpha * (len(scores) + 1) + 1e-9) - 1
            highest.append(sorted(scores, reverse=True)[may_exceed])
    return max(highest, default=None)
