"""Scores on churn points against slow loops: on the points of one set that were answered, and on nothing else."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from churn_kits import KITS, one
from kits import BUDGETS, SETS, answers, make_test_kit
from torch import Tensor

from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.kit.kit import Kit


def slow_verdict(kit: Kit, probabilities: Tensor, point_set: int, n_points: int) -> tuple[float, float, int, int]:
    """(score, p, agreed, of) by loops."""
    assert kit.churn is not None
    row = list(BUDGETS).index(n_points)
    counted = [i for i in range(n_points) if bool(probabilities[kit.churn.points[point_set, i]].isfinite().all())]

    def score(agrees: Callable[[int], bool]) -> float:
        if not counted:
            return math.nan
        total = float(kit.churn.intercepts[row, point_set])  # type: ignore[union-attr]
        for i in counted:
            weight = float(kit.churn.weights[row, point_set, i])  # type: ignore[union-attr]
            total += weight / 2 if agrees(i) else -weight / 2
        return round(total, 9)

    def same(i: int) -> bool:
        at = int(kit.churn.points[point_set, i])  # type: ignore[union-attr]
        return int(probabilities[at].argmax()) == int(kit.victim_labels[at])

    own, worst = score(same), 0.0
    for group in ("homologous", "same_data", "other_victim", "sibling"):
        rows = [m for m, r in enumerate(kit.info.models) if (r.group, r.part) == (group, "calibration")]
        others = [score(lambda i, m=m: bool(kit.churn.agrees[m, point_set, i])) for m in rows]  # type: ignore[misc,union-attr]
        worst = max(worst, (1 + sum(not other < own for other in others)) / (1 + len(rows)))
    return own, worst, sum(same(i) for i in counted), len(counted)


@pytest.mark.parametrize("n_points", BUDGETS)
@pytest.mark.parametrize("point_set", range(SETS))
@pytest.mark.parametrize(("share", "missing"), [(0.0, 0.0), (0.4, 0.3), (1.0, 0.0), (0.9, 0.7)])
def test_scores_are_those_of_a_slow_loop(share: float, missing: float, point_set: int, n_points: int, kit: Kit) -> None:
    """By every set and budget, on the points answered alone, whatever the others are."""
    given = answers(kit, share, point_set)
    given[torch.rand(len(given), generator=torch_rng("missing", n_points)) < missing] = torch.nan
    verdict = one(kit, given, point_set, n_points)
    score, p, agreed, of = slow_verdict(kit, given, point_set, n_points)
    assert verdict.churn is not None
    assert verdict.churn.score == pytest.approx(score, abs=2e-9, nan_ok=True)
    assert (verdict.p_value, verdict.churn.agreed, verdict.churn.of) == (p, agreed, of)
    assert verdict.churn.point_set == point_set


def test_nothing_but_its_own_points_counts(kit: Kit) -> None:
    """Answers to other sets, beyond the budget, or to anything else of the kit change neither score nor p."""
    assert kit.churn is not None
    given = answers(kit, 0.6)
    expected = one(kit, given, 1, BUDGETS[0])
    others = torch.ones(len(given), dtype=torch.bool)
    others[kit.churn.points[1, : BUDGETS[0]]] = False
    for value in (0.0, torch.nan):
        changed = given.clone()
        changed[others] = value
        changed[others, 0] += 1.0
        verdict = one(kit, changed, 1, BUDGETS[0])
        assert (verdict.churn, verdict.p_value, verdict.scores) == (expected.churn, expected.p_value, expected.scores)


def test_no_point_answered_accuses_nobody(kit: Kit) -> None:
    assert kit.churn is not None
    given = answers(kit, 1.0)
    given[kit.churn.points[0]] = torch.nan
    verdict = one(kit, given)
    assert (verdict.claim, verdict.p_value) == ("inconclusive", 1.0)
    assert verdict.churn is not None
    assert verdict.churn.of == 0


def test_churn_decides_whatever_the_others_say() -> None:
    """They stand beside it; a light kit has none of them."""
    full, light = KITS["full"], KITS["light"]
    given = answers(full, 0.0)
    given[full.natural] = full.victim[full.natural]
    verdict = one(full, given)
    assert (verdict.decided_by, verdict.claim) == ("weighted_churn", "inconclusive")
    assert verdict.p_value_weighted_errors == 1 / 20
    assert one(full, answers(full, 1.0)).claim == "piracy"
    bare = one(light, answers(light, 1.0))
    assert (bare.decided_by, bare.claim) == ("churn", "piracy")
    for value in (bare.p_value_uap, bare.p_value_weighted_errors, bare.p_value_t_test, bare.similarity):
        assert math.isnan(value)


def test_sibling_piracy_counts_among_the_groups() -> None:
    """One model stolen from a sibling that scores as high takes the claim away."""
    kit = KITS["full"]
    assert kit.churn is not None
    row = next(i for i, r in enumerate(kit.info.models) if r.group == "sibling")
    agrees = kit.churn.agrees.clone()
    agrees[row] = True
    verdict = one(replace(kit, churn=replace(kit.churn, agrees=agrees)), answers(kit, 1.0))
    assert (verdict.claim, verdict.p_value) == ("inconclusive", 2 / 20)
    assert verdict.calibration["sibling"] == 19
    without = tuple(replace(r, group="homologous") if r.group == "sibling" else r for r in kit.info.models)
    found = one(replace(kit, info=replace(kit.info, models=without)), answers(kit, 1.0))
    assert "sibling" in found.not_calibrated_against
    assert "sibling" not in one(make_test_kit(), make_test_kit().victim).not_calibrated_against
