"""The short table of the terminal."""

from collections.abc import Mapping
from typing import Any


def summary(body: Mapping[str, Any]) -> str:
    """The short table of the terminal."""

    def number(value: float | None) -> str:
        return "   -" if value is None else f"{value:.2f}"

    lines = [f"{'method':<26}{'homologous':>11}{'other victim':>13}{'same data':>11}   AUC over {body['draws']} draws"]
    for method, formats in body["auc"].items():
        row = formats["chosen"]
        cells = (row["homologous"], row["other_victim"], row["same_data"])
        lines.append(f"{method:<26}{number(cells[0]):>11}{number(cells[1]):>13}{number(cells[2]):>11}")
    accusation, power_ = body["false_accusation"], body["power"]
    piracy = [v for v in body["verdicts"] if v["role"] == "piracy"]
    caught = sum(v["claim"] == "piracy" for v in piracy)
    undecided = body["calibration"]["models"] < body["calibration"]["needed"]
    lines += [
        "",
        f"at alpha {accusation['alpha']:g}: power {number(power_['conformal'])} by {body['decided_by']} "
        f"(weighted_errors {number(power_['conformal_weighted_errors'])}); falsely accused, conformal / t-test: "
        + ", ".join(
            f"{group} {number(accusation['conformal'].get(group))} / {number(rate)}"
            for group, rate in accusation["t_test"].items()
        ),
        "cannot decide at this alpha: "
        f"{body['calibration']['models']} calibration models, {body['calibration']['needed']} needed"
        if undecided
        else f"verdicts (draw 0): {caught} of {len(piracy)} piracy models claimed, "
        f"{body['unique_queries_per_suspect']} images sent to each suspect",
        *(f"note: {remark}" for remark in body["remarks"]),
    ]
    return "\n".join(lines)
