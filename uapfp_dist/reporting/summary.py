"""The short table of the terminal."""

import math

from uapfp_dist.evaluation.judging import CHOSEN
from uapfp_dist.reporting.report_schema import EvaluationReport


def summary(report: EvaluationReport) -> str:
    """The short table of the terminal."""
    lines = [
        f"{'method':<26}{'homologous':>11}{'other victim':>13}{'same data':>11}   "
        f"AUC over {report.n_resamples} resamples"
    ]
    for method, formats in report.auc.items():
        row = formats[CHOSEN]
        cells = (_number(row["homologous"]), _number(row["other_victim"]), _number(row["same_data"]))
        lines.append(f"{method:<26}{cells[0]:>11}{cells[1]:>13}{cells[2]:>11}")
    accusation, power, calibration = report.false_accusation, report.power, report.calibration
    piracy = [v for v in report.verdicts if v.role == "piracy"]
    caught = sum(v.claim == "piracy" for v in piracy)
    lines += [
        "",
        f"at alpha {accusation.alpha:g}: power {_number(power.conformal)} by {report.decided_by} "
        f"(weighted_errors {_number(power.conformal_weighted_errors)}); falsely accused, conformal / t-test: "
        + ", ".join(
            f"{group} {_number(accusation.conformal.get(group, math.nan))} / {_number(rate)}"
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
