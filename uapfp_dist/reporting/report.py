"""The report of an evaluation: the JSON that other programs read, and tables for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from uapfp_dist.evaluation.judging import (
    GROUPS,
    JudgedModels,
    attack_out_auc,
    auc_table,
    claim_rates,
    left_out_rates,
    power,
    rename_groups,
    t_test_rates,
    tpr,
    verdicts,
)
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.probe_artifacts import uaps_json
from uapfp_dist.fingerprints.probe_data import ProbeSummary
from uapfp_dist.fingerprints.scoring import ScoredResample
from uapfp_dist.reporting.report_tables import verdicts_table, zoo_table
from uapfp_dist.serialization import without_nan
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import wire_form

RATES = (0.01, 0.05)
"""False positive rates at which the share of piracy caught is told."""


@dataclass(frozen=True)
class Report:
    """`body` is the documented JSON; `tables` are for people."""

    body: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def make_report(plan: Plan, panelists: JudgedModels, draws: Sequence[ScoredResample], probe: ProbeSummary) -> Report:
    """Everything that follows from the scored draws."""
    members, alpha = panelists.members, plan.config.verdict.alpha
    formats, decided_by = plan.config.verdict.formats, plan.config.verdict.decided_by
    areas, soft = auc_table(draws, members, formats), auc_table(draws, members, formats, "soft_piracy")
    conformal = claim_rates(draws, members, decided_by, alpha)
    errors_conformal = claim_rates(draws, members, "weighted_errors", alpha)
    t_test = t_test_rates(draws, members, "uap", alpha)
    first = draws[0].chosen("uap")
    assert first is not None
    radii = [probe.uaps[block.radius].xi for block in first.candidate.blocks if block.radius is not None]
    judged = verdicts(draws[0], panelists, plan.config.verdict)
    paper = probe.uaps[1.0]
    body: dict[str, Any] = {
        "evaluation": plan.id,
        "seed": plan.seed,
        "data": wire_form(plan.data),
        "victim": {"accuracy": panelists.accuracy[0], "architecture": members[0].spec.architecture},
        "uap": {
            "algorithm": plan.config.uap.algorithm,
            "xi": paper.xi,
            "fooling_rate": paper.fooling_rate,
            "fooling_rate_clipped": paper.fooling_rate_clipped,
            "target_reached": probe.fooling_target_reached,
            "mean_image_norm": probe.mean_image_norm,
            "chosen": {"xi": radii, "format": first.candidate.format.wire},
            "all": uaps_json(probe),
        },
        "natural": {"errors": probe.natural_errors, "topped_up": probe.topped_up},
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
    return Report(without_nan(body), tables)


def _map(value: Any, leaf: Any) -> Any:
    return leaf(value) if isinstance(value, Estimate) else {key: _map(item, leaf) for key, item in value.items()}


def _choices(draws: Sequence[ScoredResample], method: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for d in draws:
        scored = d.chosen(method)
        if scored is not None:
            name = f"{scored.candidate.wire}/{scored.candidate.format.wire}"
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
