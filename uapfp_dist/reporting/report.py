"""The report of an evaluation, from its scored resamples."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from uapfp_dist.evaluation.judging import (
    CHOSEN,
    Group,
    JudgedModels,
    attack_out_auc,
    auc_table,
    chosen_by,
    claim_rates,
    groups_among,
    left_out_rates,
    power,
    rename_groups,
    t_test_rates,
    tpr,
    verdicts,
)
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.methods.registry import twin_name
from uapfp_dist.fingerprints.probe_data import ProbeSummary
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.scoring import ScoredCandidate, ScoredResample
from uapfp_dist.reporting.report_schema import (
    AucTable,
    CalibrationSizes,
    ChosenUap,
    EvaluationReport,
    FalseAccusation,
    NaturalPoints,
    Power,
    TprNegatives,
    UapSummary,
    VictimSummary,
)
from uapfp_dist.reporting.report_tables import verdicts_table, zoo_table
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.members import STOLEN_FROM_OTHERS, Member

RATES = (0.01, 0.05)
"""False positive rates at which the share of stolen models caught is reported."""


@dataclass(frozen=True)
class Report:
    """`body` is what the report file holds; `tables` are for people."""

    body: EvaluationReport
    tables: dict[str, pd.DataFrame]


def make_report(plan: Plan, judged: JudgedModels, resamples: Sequence[ScoredResample], probe: ProbeSummary) -> Report:
    """Everything that follows from the scored resamples."""
    members, config, first = judged.members, plan.config.verdict, resamples[0]
    areas = auc_table(resamples, members, config.formats)
    soft = auc_table(resamples, members, config.formats, "soft_piracy")
    accusation, caught = _rates(plan, judged, resamples)
    uap = first.chosen("uap")
    assert uap is not None
    found = verdicts(first, judged, config)
    body = EvaluationReport(
        evaluation=plan.id,
        seed=plan.seed,
        data=plan.data,
        victim=VictimSummary(accuracy=judged.accuracy[0], architecture=members[0].spec.architecture),
        uap=_uap(plan, uap, probe),
        natural=NaturalPoints(errors=probe.natural_errors, topped_up=probe.topped_up),
        auc=_means(areas),
        auc_detail=areas,
        auc_soft_piracy=_means(soft),
        weighted_errors_one_attack_out=attack_out_auc(resamples, members),
        tpr={m: {f"{f:g}": tpr(resamples, members, m, f) for f in RATES} for m in first.methods},
        tpr_negatives=TprNegatives(
            models=len(first.resample.tested(members, "homologous")), needed={f"{f:g}": round(1 / f) for f in RATES}
        ),
        false_accusation=accusation,
        power=caught,
        calibration=CalibrationSizes(
            models=len(first.resample.calibration),
            other_victim=len(first.resample.calibration_piracy),
            needed=needed_for(config.alpha),
        ),
        decided_by=config.decided_by,
        queries_per_suspect=uap.queries,
        n_resamples=len(resamples),
        choices={m: _choices(resamples, m) for m in first.methods},
        verdicts=tuple(found),
        remarks=(*remarks(areas), *few_calibrate(config.n_calibrate, first.resample)),
        victims=_victims(first.resample, members),
    )
    return Report(body, {"verdicts": verdicts_table(found), "zoo": zoo_table(judged)})


def _victims(resample: Resample, members: Sequence[Member]) -> dict[Group, int]:
    """Group of models stolen from others to the number of victims of those tested."""
    groups = {group: role for group, role in groups_among(members).items() if role in STOLEN_FROM_OTHERS}
    return {g: len({members[row].stolen_from for row in resample.tested(members, role)}) for g, role in groups.items()}


def _rates(plan: Plan, judged: JudgedModels, resamples: Sequence[ScoredResample]) -> tuple[FalseAccusation, Power]:
    """How often each decision accuses negatives, and how often stolen models."""
    members, alpha, decided_by = judged.members, plan.config.verdict.alpha, plan.config.verdict.decided_by
    conformal = claim_rates(resamples, members, decided_by, alpha)
    by_errors = claim_rates(resamples, members, "weighted_errors", alpha)
    t_test = t_test_rates(resamples, members, "uap", alpha)
    accusation = FalseAccusation(
        alpha=alpha,
        conformal=rename_groups(conformal),
        t_test=rename_groups(t_test),
        conformal_weighted_errors=rename_groups(by_errors),
        architecture_left_out=left_out_rates(resamples, members, decided_by, alpha, lambda m: m.spec.architecture),
        optimizer_left_out=left_out_rates(resamples, members, decided_by, alpha, lambda m: m.spec.recipe.optimizer),
    )
    caught = Power(
        conformal=conformal.get("piracy", math.nan),
        t_test=t_test.get("piracy", math.nan),
        conformal_weighted_errors=by_errors.get("piracy", math.nan),
        by_role=power(conformal),
        by_role_weighted_errors=power(by_errors),
    )
    return accusation, caught


def _uap(plan: Plan, chosen: ScoredCandidate, probe: ProbeSummary) -> UapSummary:
    paper = probe.uaps[1.0]
    return UapSummary(
        algorithm=plan.config.uap.algorithm,
        xi=paper.xi,
        fooling_rate=paper.fooling_rate,
        fooling_rate_clipped=paper.fooling_rate_clipped,
        target_reached=probe.fooling_target_reached,
        mean_image_norm=probe.mean_image_norm,
        chosen=ChosenUap(
            xi=tuple(probe.uaps[block.radius].xi for block in chosen.candidate.blocks if block.radius is not None),
            format=chosen.candidate.format.wire,
        ),
        all={f"{radius:g}": uaps for radius, uaps in probe.uaps.items()},
    )


def _means(areas: Mapping[str, Mapping[str, Mapping[Group, Estimate]]]) -> AucTable:
    return {
        method: {fmt: {group: e.mean for group, e in groups.items()} for fmt, groups in formats.items()}
        for method, formats in areas.items()
    }


def _choices(resamples: Sequence[ScoredResample], method: str) -> dict[str, int]:
    candidates = (scored.candidate for _, scored in chosen_by(resamples, method))
    return dict(Counter(f"{candidate.wire}/{candidate.format.wire}" for candidate in candidates))


def remarks(areas: Mapping[str, Mapping[str, Mapping[Group, Estimate]]]) -> tuple[str, ...]:
    """References that do as well as the UAP, in a sentence each: a report without them would mislead.

    On points of PROBE, where that was measured: whoever is asked points of D_v is then left out.
    """
    found = []
    uap = twin_name("uap") if twin_name("uap") in areas else "uap"
    others = [name for name in areas if not (name == "uap" or name.startswith("uap_"))]
    if uap != "uap":
        others = [name for name in others if twin_name(name) == name and name != "ipguard"]
    for group, area in areas[uap][CHOSEN].items():
        ours = area.mean
        if math.isnan(ours):
            continue
        equal = [
            f"{method} ({areas[method][CHOSEN][group].mean:.2f})"
            for method in others
            if areas[method][CHOSEN][group].mean >= ours - 0.005
        ]
        if equal:
            name = "sibling_piracy" if group == "sibling" else group
            found.append(f"against {name} these do as well as {uap} ({ours:.2f}) or better: {', '.join(equal)}")
    return tuple(found)


def few_calibrate(wanted: int, resample: Resample) -> tuple[str, ...]:
    """A remark where fewer independent models calibrate than the configuration asks for: others failed."""
    found = len(resample.calibration)
    if found >= wanted:
        return ()
    return (f"{found} independent models calibrate where verdict.n_calibrate asks for {wanted}: the others failed",)
