"""What an evaluation says: the JSON that other programs read, the tables, and the few lines a person reads first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import pandas as pd

from uapfp_dist.pipeline.judging import (
    GROUPS,
    Panelists,
    attack_of,
    attack_out_auc,
    auc_table,
    claim_rates,
    left_out_rates,
    model_scores,
    power,
    rename_groups,
    t_test_rates,
    tpr,
    verdicts,
)
from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.science.fingerprint.methods import METHODS
from uapfp_dist.science.scoring import ScoredDraw
from uapfp_dist.science.verdict import Estimate, needed_for
from uapfp_dist.types import Failed, Verdict
from uapfp_dist.wording import in_words

RATES = (0.01, 0.05)
"""False positive rates at which the share of piracy caught is told."""


@dataclass(frozen=True)
class Report:
    """`body` is the documented JSON; `tables` are for people."""

    body: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def make_report(plan: Plan, panelists: Panelists, draws: Sequence[ScoredDraw], probe_info: Mapping[str, Any]) -> Report:
    """Everything that follows from the scored draws."""
    members, alpha = panelists.members, plan.config.verdict.alpha
    formats, decided_by = plan.config.verdict.formats, plan.config.verdict.decided_by
    areas, soft = auc_table(draws, members, formats), auc_table(draws, members, formats, "soft_piracy")
    conformal = claim_rates(draws, members, decided_by, alpha)
    errors_conformal = claim_rates(draws, members, "weighted_errors", alpha)
    t_test = t_test_rates(draws, members, "uap", alpha)
    first = draws[0].chosen("uap")
    assert first is not None
    radii = [probe_info["uaps"][block.split("@")[1]]["xi"] for block in first.candidate.blocks]
    judged = verdicts(draws[0], panelists, plan.config.verdict)
    paper = probe_info["uaps"]["1"]
    body: dict[str, Any] = {
        "evaluation": plan.id,
        "seed": plan.seed,
        "data": asdict(plan.data),
        "victim": {"accuracy": panelists.accuracy[0], "architecture": members[0].spec.architecture},
        "uap": {
            "algorithm": plan.config.uap.algorithm,
            "xi": paper["xi"],
            "fooling_rate": paper["fooling_rate"],
            "fooling_rate_clipped": paper["fooling_rate_clipped"],
            "target_reached": probe_info["fooling_target_reached"],
            "mean_image_norm": probe_info["mean_image_norm"],
            "chosen": {"xi": radii, "format": first.candidate.format},
            "all": probe_info["uaps"],
        },
        "natural": {"errors": probe_info["natural_errors"], "topped_up": probe_info["topped_up"]},
        "auc": _map(areas, lambda e: e.mean),
        "auc_detail": _map(areas, asdict),
        "auc_soft_piracy": _map(soft, lambda e: e.mean),
        "weighted_errors_one_attack_out": attack_out_auc(draws, members),
        "tpr": {m: {f"{f:g}": tpr(draws, members, m, f) for f in RATES} for m in draws[0].methods},
        "tpr_negatives": {
            "models": len(draws[0].draw.tested(members, "homologous")),
            "needed": {f"{f:g}": round(1 / f) for f in RATES},
        },
        "false_accusation": {
            "alpha": alpha,
            "conformal": rename_groups(conformal),
            "t_test": rename_groups(t_test),
            "conformal_weighted_errors": rename_groups(errors_conformal),
            "architecture_left_out": left_out_rates(draws, members, decided_by, alpha, lambda m: m.spec.architecture),
            "optimizer_left_out": left_out_rates(draws, members, decided_by, alpha, lambda m: m.spec.recipe.optimizer),
        },
        "power": {
            "conformal": conformal.get("piracy", math.nan),
            "t_test": t_test.get("piracy", math.nan),
            "conformal_weighted_errors": errors_conformal.get("piracy", math.nan),
            "by_role": power(conformal),
            "by_role_weighted_errors": power(errors_conformal),
        },
        "calibration": {
            "models": len(draws[0].draw.calibration),
            "other_victim": len(draws[0].draw.calibration_piracy),
            "needed": needed_for(alpha),
        },
        "decided_by": decided_by,
        "unique_queries_per_suspect": first.queries,
        "draws": len(draws),
        "choices": {m: _choices(draws, m) for m in draws[0].methods},
        "verdicts": [asdict(v) for v in judged],
        "remarks": remarks(areas),
    }
    tables = {
        "verdicts": verdicts_table(judged),
        "zoo": zoo_table(panelists),
    }
    return Report(clean(body), tables)


def _map(value: Any, leaf: Any) -> Any:
    return leaf(value) if isinstance(value, Estimate) else {key: _map(item, leaf) for key, item in value.items()}


def _choices(draws: Sequence[ScoredDraw], method: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for d in draws:
        scored = d.chosen(method)
        if scored is not None:
            name = f"{scored.candidate.block}/{scored.candidate.format}"
            counts[name] = counts.get(name, 0) + 1
    return counts


def remarks(areas: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> list[str]:
    """References that do as well as the UAP, said in words: a report that stays silent on them would mislead."""
    found = []
    for group in GROUPS:
        ours = areas["uap"]["chosen"][group].mean
        if math.isnan(ours):
            continue
        equal = [
            f"{method} ({table['chosen'][group].mean:.2f})"
            for method, table in areas.items()
            if not (method == "uap" or method.startswith("uap_")) and table["chosen"][group].mean >= ours - 0.005
        ]
        if equal:
            found.append(f"against {group} these do as well as uap ({ours:.2f}) or better: {', '.join(equal)}")
    return found


def methods_table(draws: Sequence[ScoredDraw], body: Mapping[str, Any]) -> pd.DataFrame:
    """A row per method and format: queries, AUC per group with its interval, TPR where there are models enough."""
    rows = []
    for method, formats in body["auc_detail"].items():
        for fmt, groups in formats.items():
            scored = draws[0].chosen(method, fmt)
            row: dict[str, Any] = {
                "method": method,
                "format": fmt,
                "queries": scored.queries if scored else 0,
            }
            for group, e in groups.items():
                row |= {f"auc_{group}": e["mean"], f"auc_{group}_low": e["low"], f"auc_{group}_high": e["high"]}
            if fmt == "chosen":
                row |= {f"tpr_at_{float(f):.0%}_fpr": value for f, value in body["tpr"][method].items()}
            rows.append(row)
    return pd.DataFrame(rows).assign(about=[METHODS[row["method"]].about for row in rows])


def verdicts_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Every verdict; columns that rest on `uap`, whatever decides, say so."""
    names = {name: f"{name}_uap" for name in ("similarity", "similarity_std", "p_value_t_test", "queries")}
    return pd.DataFrame([asdict(v) for v in judged]).rename(columns=names)


def zoo_table(panelists: Panelists) -> pd.DataFrame:
    """Every judged model with its accuracy."""
    return pd.DataFrame(
        [
            {
                "model": m.spec.id,
                "role": m.role,
                "architecture": m.spec.architecture,
                "optimizer": m.spec.recipe.optimizer,
                "batch_size": m.spec.recipe.batch_size,
                "attack": attack_of(m),
                "accuracy": accuracy,
            }
            for m, accuracy in zip(panelists.members, panelists.accuracy, strict=True)
        ]
    )


def failures_of(failed: Iterable[Failed]) -> list[dict[str, Any]]:
    """What could not be made, and why, as far as is known."""
    return [
        {
            "id": f.spec.id,
            "kind": f.spec.kind,
            "words": in_words(f.spec),
            "error": f.error,
            "details": f.details,
            "lost": f.lost,
        }
        for f in failed
    ]


def failures_table(failures: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The same as a table, which has its columns also where nothing failed."""
    return pd.DataFrame(failures, columns=["id", "kind", "words", "error", "details", "lost"])


def group_scores(d: ScoredDraw, panelists: Panelists, method: str) -> dict[str, list[float]]:
    """Role to the scores of its test models in one draw, and those of the calibration models."""
    scored = d.chosen(method)
    assert scored is not None
    scores, members = model_scores(scored), panelists.members
    found = {"calibration": [scores[row] for row in d.draw.calibration]}
    if d.draw.calibration_piracy:
        found["calibration_piracy"] = [scores[row] for row in d.draw.calibration_piracy]
    for row in d.draw.test:
        found.setdefault(members[row].role, []).append(scores[row])
    return found


def clean(value: Any) -> Any:
    """JSON without NaN: what was not measured is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return clean(asdict(value))
    if isinstance(value, Mapping):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
