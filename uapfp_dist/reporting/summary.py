"""The short table of the terminal."""

import math

from uapfp_dist.evaluation.judging import CHOSEN, Group, group_name
from uapfp_dist.reporting.report_schema import EvaluationReport, reported_groups

COLUMNS: dict[Group, str] = {
    "homologous": "homologous",
    "other_victim": "other victim",
    "same_data": " same data",
    "sibling": "sibling piracy",
}
"""Of the terminal: groups of negatives."""


def summary(report: EvaluationReport) -> str:
    """The short table of the terminal."""
    columns = {group: COLUMNS[group] for group in reported_groups(report)}
    names = "".join(name.rjust(len(name) + 1) for name in columns.values())
    lines = [f"{'method':<26}{names}   AUC over {report.n_resamples} resamples"]
    for method, formats in report.auc.items():
        cells = (_number(formats[CHOSEN][group]).rjust(len(name) + 1) for group, name in columns.items())
        lines.append(f"{method:<26}{''.join(cells)}")
    accusation, power, calibration = report.false_accusation, report.power, report.calibration
    piracy = [v for v in report.verdicts if v.role == "piracy"]
    caught = sum(v.claim == "piracy" for v in piracy)
    lines += [
        "",
        f"at alpha {accusation.alpha:g}: power {_number(power.conformal)} by {report.decided_by} "
        f"(weighted_errors {_number(power.conformal_weighted_errors)}); falsely accused, conformal / t-test: "
        + ", ".join(
            f"{group_name(group)} {_number(accusation.conformal.get(group, math.nan))} / {_number(rate)}"
            for group, rate in accusation.t_test.items()
        ),
        f"cannot decide at this alpha: {calibration.models} calibration models, {calibration.needed} needed"
        if calibration.models < calibration.needed
        else f"verdicts (resample 0): {caught} of {len(piracy)} piracy models claimed, "
        f"{report.queries_per_suspect} images sent to each suspect",
        *(f"note: {remark}" for remark in report.remarks),
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "   -" if math.isnan(value) else f"{value:.2f}"
