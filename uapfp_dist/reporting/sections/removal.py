"""Removal attacks: accuracy lost against the share still caught, by method and number of images."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from uapfp_dist.evaluation.judging import chosen_by
from uapfp_dist.evaluation.modified_models import UNCHANGED, change_of
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.scoring import scores_within_budget
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.removal_schema import RemovalGroup, ShareCaught
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.reporting.sections.exact import exact_claims
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.auc import FEWEST_VICTIMS
from uapfp_dist.tasks.members import (
    CONTROL_ROLES,
    DERIVED_ROLES,
    MODIFIED_ROLES,
    NEGATIVE_ROLES,
    STOLEN_FROM_OTHERS,
    STOLEN_ROLES,
    Member,
    Role,
)

METHODS = ("weighted_churn", "churn", "uap", "weighted_errors")
"""Those shown, where they were computed: what kits decide by, without thieves, the paper's, and by natural errors."""
EXACT = "exact"
"""The exact sibling test, beside the methods."""
RELABELLED = (Role.RELABELLED_PIRACY, Role.RELABELLED_HOMOLOGOUS)
ATTACKED = (*MODIFIED_ROLES, *CONTROL_ROLES)
SHOWN = (*STOLEN_ROLES, *NEGATIVE_ROLES, *ATTACKED)


def removal(data: ReportData) -> ReportSection | None:
    """What an attack costs in accuracy and leaves of the evidence; who is accused after it."""
    members = data.judged.members
    if not any(member.role in ATTACKED for member in members):
        return None
    caught = pd.concat([*(_above_negatives(data, method) for method in METHODS), _claimed(data)])
    if caught.empty:
        return None
    groups = _groups(data, caught)
    return ReportSection(
        "removal",
        "Removal: accuracy lost against the share still caught",
        _text(data),
        {"removal": _wide(groups)},
        {"removal": figures.removal(_panels(groups), "share caught")},
        SectionNumbers(removal=groups),
    )


def _text(data: ReportData) -> str:
    sizes = [len(_reference_rows(data, one.resample)) for one in data.resamples]
    return (
        "What was done to models, stolen and independent ones alike, what it cost in accuracy, and the share still "
        "caught within so many images. By a method a model is caught if it scores above every negative of the resample "
        f"that did not train ({min(sizes)} to {max(sizes)} models, those stolen from siblings and from other victims "
        "among them; of an independent model, all but itself and what it was made of); shares are means over the "
        "resamples that test it, intervals 95 % over the models that were attacked. By the exact sibling test "
        f"(`{EXACT}`) it is caught if that claims it at alpha {data.alpha:g}. `made` models were made; `models` of "
        "them answered and are tested in a resample, that is, where what they were made of trains no scorer: shares "
        "and accuracies are theirs. `accuracy_lost` is against the models that were attacked, or, where the attack "
        "began with the training (labels changed or mixed in, stolen at second hand, another kind of net), against the "
        "unchanged ones of their side. Negatives that are caught would be accused wrongly: an attack that makes them "
        "suspicious stands on both sides. The figure shows `weighted_churn` by every budget, other tests by their "
        f"largest. {data.setting}."
    )


def _reference_rows(data: ReportData, resample: Resample) -> list[int]:
    """Negatives that did not train."""
    tested = resample.tested(data.judged.members, *NEGATIVE_ROLES)
    return [*tested, *resample.calibration, *resample.calibration_piracy]


def _above_negatives(data: ReportData, method: str) -> pd.DataFrame:
    """A row per budget, resample and model tested in it: whether it scores above every negative but its own root."""
    found = [pd.DataFrame(columns=["test", "images", "row", "caught"])]
    if method not in data.resamples[0].methods:
        return found[0]
    seen = set[int]()
    for budget in data.plan.config.churn.budgets:
        picked = [
            (resample, limited)
            for resample, candidate in chosen_by(data.resamples, method)
            if (limited := scores_within_budget(data.matrix, resample, method, candidate, budget))
        ]
        images = max((sent for _, (_, sent) in picked), default=0)
        if not picked or images in seen:
            continue
        seen.add(images)
        for resample, (scores, _) in picked:
            caught = scores_above(
                data.judged.members, scores.double().numpy(), resample.test, _reference_rows(data, resample)
            )
            found.append(pd.DataFrame({"test": method, "images": images, "row": resample.test, "caught": caught}))
    return pd.concat(found[1:] or found)


def scores_above(
    members: Sequence[Member], scores: np.ndarray, suspects: Sequence[int], reference: Sequence[int]
) -> list[float]:
    """1 for a suspect above all of `reference` but itself and what it was made of, else 0; NaN if none is left."""
    highest = sorted(reference, key=lambda row: scores[row], reverse=True)
    found = []
    for row in suspects:
        root = members[row].spec.root.id
        rival = next((other for other in highest if members[other].spec.id != root), None)
        found.append(math.nan if rival is None else float(scores[row] > scores[rival]))
    return found


def _claimed(data: ReportData) -> pd.DataFrame:
    """The same of the exact test, once for every model that some resample may test."""
    claims = exact_claims(data)
    shown = {row for one in data.resamples for row in one.resample.test}
    claims = claims[claims["row"].isin(shown)]
    return claims.assign(test=EXACT).rename(columns={"claimed": "caught"})[["test", "images", "row", "caught"]]


def _groups(data: ReportData, caught: pd.DataFrame) -> tuple[RemovalGroup, ...]:
    """A group per role and change of the models that were made, in the order of the plan."""
    members, accuracy, lost = data.judged.members, data.judged.accuracy, accuracy_lost(data)
    shares = _by_group(members, caught)
    tested = set(caught["row"])
    rows = {member.spec.id: row for row, member in enumerate(members)}
    made: dict[tuple[str, str], list[str]] = {}
    for member in data.plan.judged:
        if member.spec.id in data.cards and member.role in SHOWN:
            made.setdefault((str(member.role), change_of(member)), []).append(member.spec.id)
    found = []
    for (role, change), ids in made.items():
        mine = [rows[one] for one in ids if rows.get(one) in tested]
        found.append(
            RemovalGroup(
                role=role,
                change=change,
                made=len(ids),
                models=len(mine),
                accuracy=_mean([accuracy[row] for row in mine]),
                accuracy_lost=_mean([lost[row] for row in mine]),
                caught=tuple(_shares(shares[(shares["role"] == role) & (shares["change"] == change)])),
            )
        )
    return tuple(found)


def _by_group(members: Sequence[Member], caught: pd.DataFrame) -> pd.DataFrame:
    """A row per role, change, test and number of images: the share caught, means over resamples, then over models."""
    per_model = caught.astype({"caught": float, "images": int, "row": int}).dropna(subset=["caught"])
    per_model = per_model.groupby(["test", "images", "row"], sort=False)["caught"].mean().reset_index()
    mine = [members[row] for row in per_model["row"]]
    per_model = per_model.assign(
        role=[str(member.role) for member in mine],
        change=[change_of(member) for member in mine],
        base=[m.stolen_from if m.role in STOLEN_FROM_OTHERS else m.spec.root.id for m in mine],
    )
    keys = ["role", "change", "test", "images"]
    found = over_models(per_model, keys, ["caught"], ["caught"], ["caught"])
    victims = per_model.groupby(keys, sort=False)["base"].nunique().to_numpy()
    few = found["role"].isin(STOLEN_FROM_OTHERS) & (victims < FEWEST_VICTIMS)
    found.loc[few, ["caught_low", "caught_high"]] = math.nan
    return found


def _shares(rows: pd.DataFrame) -> Iterator[ShareCaught]:
    for one in rows.to_dict("records"):
        yield ShareCaught(
            test=one["test"],
            images=one["images"],
            share=one["caught"],
            low=one["caught_low"],
            high=one["caught_high"],
        )


def accuracy_lost(data: ReportData) -> list[float]:
    """Of every model, against what it was made of, or against the mean of the unchanged models of its side."""
    members, accuracy = data.judged.members, data.judged.accuracy
    of_id = {member.spec.id: value for member, value in zip(members, accuracy, strict=True)}
    unchanged = {
        stolen: _mean([value for m, value in zip(members, accuracy, strict=True) if m.role == role])
        for stolen, role in ((True, Role.PIRACY), (False, Role.HOMOLOGOUS))
    }
    lost = []
    for member, value in zip(members, accuracy, strict=True):
        start = unchanged[member.role in DERIVED_ROLES]
        anew = not member.spec.modifications or member.role in RELABELLED
        before = start if anew else of_id.get(member.spec.root.id, math.nan)
        lost.append(0.0 if change_of(member) == UNCHANGED else before - value)
    return lost


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _wide(groups: Sequence[RemovalGroup]) -> pd.DataFrame:
    """A line per group, a column per test and number of images."""
    return pd.DataFrame(
        {
            **{
                name: getattr(group, name) for name in ("role", "change", "made", "models", "accuracy", "accuracy_lost")
            },
            **{f"{one.test}, {one.images} images": one.share for one in group.caught},
        }
        for group in groups
    )


def _panels(groups: Sequence[RemovalGroup]) -> pd.DataFrame:
    """What the figure shows: `weighted_churn` by every budget, other tests by their largest."""
    largest: dict[str, int] = {}
    for one in (one for group in groups for one in group.caught):
        largest[one.test] = max(largest.get(one.test, 0), one.images)
    return pd.DataFrame(
        {
            "panel": f"{one.test.replace('_', ' ')}\n{one.images:,} images",
            "change": group.change,
            "stolen": group.role in DERIVED_ROLES,
            "lost": 100 * group.accuracy_lost,
            "caught": one.share,
        }
        for group in groups
        if group.role != Role.MODIFIED_VICTIM
        for one in group.caught
        if one.test == METHODS[0] or one.images == largest[one.test]
    )
