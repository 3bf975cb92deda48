"""What a budget of queries buys of every method."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from method_matrix import ALL_CHURN, CANDIDATES, N_POINTS, N_TEST, POOLS, TESTED, TRAINING, of_points, score_one

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import (
    CHURN,
    CLEAN,
    IPGUARD,
    NATURAL,
    ONE_VIEW,
    UAP,
    BlockKey,
)
from uapfp_dist.fingerprints.churn_weights import fit_churn_weights
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, scores_within_budget
from uapfp_dist.response_format import LABEL


def test_images_of_smaller_fingerprints_are_counted_as_they_are(matrix: ResponseMatrix) -> None:
    """With fewer points what the views need is no longer the first images of a block without a gap."""
    fewer = of_points(matrix, 4)
    for block in (CLEAN, BlockKey(UAP, 0.5)):
        assert fewer.n_query_images(block) == len(matrix.query_index(block)[:, :4].unique())


@pytest.fixture(scope="module")
def scored(matrix: ResponseMatrix) -> ScoredResample:
    """One resample by all methods."""
    return score_one(matrix, Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7})), tuple(METHODS))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_budget_buys_what_fits(method: str, matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """Views: the longest run of first views whose unique images are not more than the budget. Images: so many."""
    scorer = METHODS[method]
    for one, budget in product(scored.methods[method], (1, 7, 10, 20, 25, 30, 1000)):
        found = scores_within_budget(matrix, scored.resample, method, one, budget)
        blocks = scorer.query_blocks(one.candidate)
        if {block.kind for block in blocks} <= {NATURAL.kind, *ONE_VIEW, *(pool.kind for pool in POOLS)}:
            assert found is not None
            assert found[1] == min(budget, N_POINTS if blocks[0].kind in ONE_VIEW else 20)
            continue
        costs = [replace(matrix, n_test_views=n).n_query_images(*blocks) for n in range(1, N_TEST + 1)]
        affordable = [cost for cost in costs if cost <= budget]
        assert (found is None) == (not affordable)
        if found is not None:
            assert found[1] == affordable[-1]
            if scorer.per_view:
                torch.testing.assert_close(found[0], one.scores[:, : len(affordable)].mean(1))


def test_a_budget_of_exactly_two_views_buys_two(matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """One image less buys one view."""
    one = scored.methods["uap"][0]
    cost = replace(matrix, n_test_views=2).n_query_images(*METHODS["uap"].query_blocks(one.candidate))
    for budget, n_views in ((cost, 2), (cost - 1, 1)):
        found = scores_within_budget(matrix, scored.resample, "uap", one, budget)
        assert found is not None
        torch.testing.assert_close(found[0], one.scores[:, :n_views].mean(1))
    assert found[1] < cost


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_budget_for_everything_changes_nothing(method: str, matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """Where suspects are sent all there is, unlimited and limited scores are the same."""
    everything = replace(matrix, n_natural=20, n_churn=ALL_CHURN)
    for one in score_one(everything, scored.resample, (method,)).methods[method]:
        found = scores_within_budget(everything, scored.resample, method, one, 1000)
        assert found is not None
        assert found[1] == one.queries
        torch.testing.assert_close(found[0], one.scores.mean(1))


def test_a_budget_takes_the_best_images(matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """Weighted errors by the weights of this resample's training models, boundary points and AKH in their order."""
    agree = torch.stack([a.blocks[NATURAL].argmax(1) for a in matrix.responses])
    agree = agree == agree[0]
    (errors,) = scored.methods["weighted_errors"]
    found = scores_within_budget(matrix, scored.resample, "weighted_errors", errors, 5)
    assert found is not None
    assert torch.equal(found[0], weighted_scores(agree, list(TRAINING.piracy), list(TRAINING.homologous), 5))
    for method, block in (("natural_errors", NATURAL), ("ipguard", IPGUARD)):
        hard = next(s for s in scored.methods[method] if s.candidate.format == LABEL)
        found = scores_within_budget(matrix, scored.resample, method, hard, 5)
        labels = torch.stack([a.blocks[block][:5].argmax(1) for a in matrix.responses])
        assert found is not None
        torch.testing.assert_close(found[0], (labels == labels[0]).float().mean(1))
    agree = matrix.churn[CHURN] == matrix.churn[CHURN][0]
    plain, weighted = (
        scores_within_budget(matrix, scored.resample, name, scored.methods[name][0], 5)
        for name in ("churn", "weighted_churn")
    )
    assert plain is not None
    assert weighted is not None
    torch.testing.assert_close(plain[0], agree[:, :5].float().mean(1))
    negatives = (*TRAINING.negatives(True), *TRAINING.sibling)
    weights = fit_churn_weights(agree, TRAINING.piracy, negatives, CANDIDATES[CHURN], 5)
    torch.testing.assert_close(weighted[0], weights.scores(agree).float())
    assert plain[1] == weighted[1] == 5


def test_no_budget_at_all_is_refused(matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """In one line."""
    with pytest.raises(UserError, match="query budget: expected at least 1 image, got 0"):
        scores_within_budget(matrix, scored.resample, "sac", scored.methods["sac"][0], 0)
