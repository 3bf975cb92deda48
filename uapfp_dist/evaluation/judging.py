"""From scored resamples to rates, intervals and verdicts. Pure counting: no model is queried, nothing is fitted."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.scoring import ScoredCandidate, ScoredResample
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import Estimate, auc_over_resamples, tpr_at_fpr
from uapfp_dist.statistics.conformal import Decision, decide, needed_for
from uapfp_dist.statistics.t_test import paper_t_test
from uapfp_dist.tasks.members import STOLEN_FROM_OTHERS, STOLEN_ROLES, Member

Group = Literal["homologous", "other_victim", "same_data", "sibling"]
"""A group of negatives, by its name in reports."""

NEGATIVE_GROUPS: Mapping[Group, str] = {
    "homologous": "homologous",
    "other_victim": "other_victim_piracy",
    "same_data": "same_data",
    "sibling": "sibling_piracy",
}
"""Group of negatives to their role."""


def groups_among(members: Iterable[Member]) -> dict[Group, str]:
    """The groups that a report on `members` shows, to their roles: `sibling` only where it has models."""
    roles = {member.role for member in members}
    return {group: role for group, role in NEGATIVE_GROUPS.items() if group != "sibling" or role in roles}


@dataclass(frozen=True)
class JudgedModels:
    """The models in the order of the rows of scores, with their accuracy."""

    members: tuple[Member, ...]
    accuracy: tuple[float, ...]


def model_scores(scored: ScoredCandidate) -> list[float]:
    """Score of every row: the mean over its views (protocol 2.11)."""
    return [float(value) for value in scored.scores.double().mean(1)]


def chosen_by(
    resamples: Sequence[ScoredResample], method: str, fmt: ResponseFormat | None = None
) -> list[tuple[Resample, ScoredCandidate]]:
    """Each resample with the candidate that is chosen there, overall or within a format, as far as there is one."""
    return [(d.resample, scored) for d in resamples if (scored := d.chosen(method, fmt)) is not None]


def by_id(rows: Sequence[int], scores: Sequence[float], members: Sequence[Member]) -> dict[str, float]:
    """Model id to score."""
    return {members[row].spec.id: scores[row] for row in rows}


def parents_of(members: Sequence[Member]) -> dict[str, str]:
    """Id of every modified model to that of the model it was made of."""
    return {member.spec.id: member.spec.root.id for member in members if member.spec.modifications}


def victims_of(members: Iterable[Member]) -> dict[str, str]:
    """Id of every model stolen from others to that of its victim."""
    return {member.spec.id: member.stolen_from for member in members if member.role in STOLEN_FROM_OTHERS}


CHOSEN = "chosen"
"""In reports: the format that was chosen on the training models."""


def format_columns(formats: Sequence[ResponseFormat]) -> dict[str, ResponseFormat | None]:
    """Columns of the report's AUC: probabilities and labels first, the chosen format (None) last."""
    first = [fmt for fmt in (PROBABILITIES, LABEL) if fmt in formats]
    named = {fmt.wire: fmt for fmt in dict.fromkeys((*first, *formats))}
    return {**named, CHOSEN: None}


def auc_table(
    resamples: Sequence[ScoredResample],
    members: Sequence[Member],
    formats: Sequence[ResponseFormat],
    positive: str = "piracy",
) -> dict[str, dict[str, dict[Group, Estimate]]]:
    """Method to format to group of negatives to AUC over resamples, test models only.

    Args:
        formats: in which suspects respond.
        positive: role of the positives.
    """
    table: dict[str, dict[str, dict[Group, Estimate]]] = {}
    groups, victims = groups_among(members), victims_of(members)
    for method in resamples[0].methods:
        for column, fmt in format_columns(formats).items():
            picked = [(resample, model_scores(scored)) for resample, scored in chosen_by(resamples, method, fmt)]
            if not picked:
                continue
            for group, role in groups.items():
                pairs = [
                    (
                        by_id(resample.tested(members, positive), scores, members),
                        by_id(resample.tested(members, role), scores, members),
                    )
                    for resample, scores in picked
                ]
                rng = numpy_rng("bootstrap", method, column, group)
                table.setdefault(method, {}).setdefault(column, {})[group] = auc_over_resamples(
                    pairs, rng, victims=victims
                )
    return table


def tpr(resamples: Sequence[ScoredResample], members: Sequence[Member], method: str, fpr: float) -> float:
    """Mean over resamples of the share of piracy caught when `fpr` of the homologous test models are let through.

    NaN where there are fewer than 1 / fpr of them: it would be the share caught when none is let through.
    """
    rates = []
    for resample, scored in chosen_by(resamples, method):
        scores = model_scores(scored)
        piracy, homologous = (
            [scores[row] for row in resample.tested(members, role)] for role in ("piracy", "homologous")
        )
        if fpr * len(homologous) >= 1 - 1e-9:
            rates.append(tpr_at_fpr(piracy, homologous, fpr))
    return float(np.mean(rates)) if rates else math.nan


def decision(scores: Sequence[float], row: int, resample: Resample, alpha: float) -> Decision:
    """The conformal decision on one row, by the groups of negatives that the zoo calibrates against.

    Without enough independent models nothing is decided, however many models stolen from others (protocol 3.1).
    """
    return decide(scores[row], calibration_scores(scores, resample), alpha, required=("homologous",))


def calibration_scores(scores: Sequence[float], resample: Resample) -> dict[str, list[float]]:
    """Group of negatives to its calibration models' scores; those stolen from others only if the zoo has them."""
    groups = {"homologous": resample.calibration, "other_victim": resample.calibration_piracy}
    return {group: [scores[i] for i in rows] for group, rows in groups.items() if rows or group == "homologous"}


def t_test_p(scored: ScoredCandidate, row: int, resample: Resample, *seed: object) -> float:
    """The paper's statistic for one row against the calibration models' fingerprints."""
    return paper_t_test(scored.scores[row], scored.scores[list(resample.calibration)].flatten(), numpy_rng("t", *seed))


def claim_rates(
    resamples: Sequence[ScoredResample], members: Sequence[Member], method: str, alpha: float
) -> dict[str, float]:
    """Role to share accused by the conformal decision on the method's scores, over all resamples' test models.

    Empty where calibration is too small to decide: "never accused" would be a merit it has not.
    """
    accused: dict[str, list[bool]] = {}
    for resample, scored in chosen_by(resamples, method):
        if len(resample.calibration) < needed_for(alpha):
            continue
        scores = model_scores(scored)
        for row in resample.test:
            claim = decision(scores, row, resample, alpha).claim
            accused.setdefault(members[row].role, []).append(claim == "piracy")
    return {role: float(np.mean(claims)) for role, claims in accused.items()}


def t_test_rates(
    resamples: Sequence[ScoredResample], members: Sequence[Member], method: str, alpha: float
) -> dict[str, float]:
    """Role to share accused by the paper's t-test on the method's scores, which must stand by view."""
    accused: dict[str, list[bool]] = {}
    for resample, scored in chosen_by(resamples, method):
        for row in resample.test:
            p = t_test_p(scored, row, resample, method, resample.index, row)
            accused.setdefault(members[row].role, []).append(p <= alpha)
    return {role: float(np.mean(claims)) for role, claims in accused.items()}


def left_out_rates(
    resamples: Sequence[ScoredResample],
    members: Sequence[Member],
    method: str,
    alpha: float,
    key: Callable[[Member], str],
) -> dict[str, float]:
    """False accusation of independent models of one kind when calibration has never seen that kind (protocol 2.12).

    The decision is that of verdicts, no group of negatives with a model of that kind. NaN where too few models of the
    other kinds are left to decide at alpha, in one of the groups that decide verdicts.
    """
    accused: dict[str, list[bool]] = {}
    needed = needed_for(alpha)
    kinds = sorted({key(m) for m in members if m.role == "homologous"})
    for resample, scored in chosen_by(resamples, method):
        scores = model_scores(scored)
        pool = [*resample.calibration, *resample.tested(members, "homologous")]
        for kind in kinds:
            seen, other_victim = (
                tuple(row for row in rows if key(members[row]) != kind) for rows in (pool, resample.calibration_piracy)
            )
            without = replace(resample, calibration=seen, calibration_piracy=other_victim)
            decides_no_more = len(other_victim) < needed <= len(resample.calibration_piracy)
            if len(seen) >= needed and not decides_no_more:
                suspects = [row for row in pool if key(members[row]) == kind]
                claims = [decision(scores, row, without, alpha).claim for row in suspects]
                accused.setdefault(kind, []).extend(claim == "piracy" for claim in claims)
    return {kind: float(np.mean(accused[kind])) if accused.get(kind) else math.nan for kind in kinds}


def attack_out_auc(resamples: Sequence[ScoredResample], members: Sequence[Member]) -> dict[str, dict[Group, float]]:
    """AUC of weighted errors fitted on the models stolen by one attack, tested on those of the other attacks."""
    attacks = sorted({attack for d in resamples for attack in d.attack_out})
    table: dict[str, dict[Group, float]] = {}
    for attack in attacks:
        for group, role in groups_among(members).items():
            pairs = []
            for d in resamples:
                if attack not in d.attack_out:
                    continue
                scores = [float(value) for value in d.attack_out[attack]]
                unseen = [r for r in d.resample.tested(members, "piracy") if attack_of(members[r]) != attack]
                negative = d.resample.tested(members, role)
                pairs.append((by_id(unseen, scores, members), by_id(negative, scores, members)))
            estimate = auc_over_resamples(pairs, numpy_rng("bootstrap", attack, group))
            table.setdefault(f"learnt from {attack}", {})[group] = estimate.mean
    return table


def attack_of(member: Member) -> str:
    """The attack a model was stolen with, and the data set of its images if it is another one; or an empty string."""
    return member.spec.extraction.attack_name if member.spec.extraction else ""


def verdicts(first: ScoredResample, judged: JudgedModels, config: VerdictConfig) -> list[Verdict]:
    """Every test model of resample 0, by `uap`, by the method that decides and by weighted errors."""
    members = judged.members
    uap, errors = first.chosen("uap"), first.chosen("weighted_errors")
    assert uap is not None
    assert errors is not None
    similarity, weights = model_scores(uap), model_scores(errors)
    decider = first.chosen(config.decided_by)
    assert decider is not None
    deciding = model_scores(decider)
    calibrated, groups = calibration_scores(deciding, first.resample), groups_among(members)
    found = []
    for row in first.resample.test:
        member = members[row]
        decided = decision(deciding, row, first.resample, config.alpha)
        by_errors = decision(weights, row, first.resample, config.alpha)
        found.append(
            Verdict(
                model=member.spec.id,
                role=member.role,
                architecture=member.spec.architecture,
                optimizer=member.spec.recipe.optimizer,
                attack=attack_of(member),
                similarity=similarity[row],
                similarity_std=float(uap.scores[row].double().std()),
                decided_by=config.decided_by,
                score=deciding[row],
                p_value=decided.p_value,
                p_value_t_test=t_test_p(uap, row, first.resample, "verdict", row),
                claim=decided.claim,  # type: ignore[arg-type]
                queries=uap.queries,
                accuracy=judged.accuracy[row],
                weighted_errors=weights[row],
                weighted_errors_p=by_errors.p_value,
                weighted_errors_claim=by_errors.claim,
                not_calibrated_against=tuple(
                    g for g in groups if g not in calibrated or g in decided.not_calibrated_against
                ),
            )
        )
    return found


def rename_groups(rates: Mapping[str, float]) -> dict[Group, float]:
    """Rates of the negatives by group."""
    return {group: rates[role] for group, role in NEGATIVE_GROUPS.items() if role in rates}


def power(rates: Mapping[str, float]) -> dict[str, float]:
    """Rates of the models stolen from the victim."""
    return {role: rates[role] for role in STOLEN_ROLES if role in rates}
