"""One contract for every fingerprint method, on responses made up so that lineage is known."""

from dataclasses import dataclass, replace

import pytest
import torch
from method_matrix import (
    ENCODERS,
    FOLDS,
    FORMATS,
    N_TEST,
    N_UNIQUE,
    POOLS,
    ROLES,
    TESTED,
    TRAINING,
    changed,
    lie,
    made_up_responses,
    score_one,
    scores_of,
    with_responses,
)
from torch import Tensor

from uapfp_dist.fingerprints.blocks import (
    CHURN,
    CLEAN,
    NATURAL,
)
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.members import Role


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_have_their_shape_and_are_numbers(method: str, matrix: ResponseMatrix) -> None:
    """One per training set, model and view (methods without views have one)."""
    found = scores_of(matrix, method)
    assert found
    for scores in found.values():
        assert scores.shape[:2] == (len(FOLDS), len(ROLES))
        assert scores.shape[2] == (N_TEST if METHODS[method].per_view else 1)
        assert bool(scores.isfinite().all())
    assert METHODS[method].description


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_can_be_repeated(method: str, matrix: ResponseMatrix) -> None:
    """Bit by bit."""
    first, again = scores_of(matrix, method), scores_of(matrix, method)
    assert all(torch.equal(first[candidate], again[candidate]) for candidate in first)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_score_of_a_suspect_is_its_own(method: str, matrix: ResponseMatrix) -> None:
    """It depends neither on other suspects' responses nor on the role that they or it are given."""
    before = scores_of(matrix, method)
    other = with_responses(matrix, TESTED[0], made_up_responses(Role.HOMOLOGOUS, 99))
    roles = list(matrix.members)
    for one, two in zip(TESTED, reversed(TESTED), strict=True):
        roles[one] = matrix.members[two]
    renamed = replace(other, members=tuple(roles))
    after = scores_of(renamed, method)
    rest = [row for row in range(len(ROLES)) if row != TESTED[0]]
    for candidate, scores in before.items():
        torch.testing.assert_close(after[candidate][:, rest], scores[:, rest], rtol=0, atol=1e-6)
        assert not torch.equal(after[candidate][:, TESTED[0]], scores[:, TESTED[0]])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_labels_know_no_confidence(method: str, matrix: ResponseMatrix) -> None:
    """Sharpening every probability changes no label: hard formats stay as they are, soft ones do not."""
    sharp = tuple(
        Responses({name: p**4 / (p**4).sum(1, keepdim=True) for name, p in answers.blocks.items()})
        for answers in matrix.responses
    )
    after = scores_of(replace(matrix, responses=sharp), method)
    for candidate, scores in scores_of(matrix, method).items():
        assert torch.equal(after[candidate], scores) == (candidate.format == LABEL), candidate


def formats_of(method: str, matrix: ResponseMatrix) -> set[ResponseFormat]:
    """The formats among a method's candidates."""
    return {candidate.format for candidate in METHODS[method].candidates(matrix)}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_offer_the_formats_of_the_matrix(method: str, matrix: ResponseMatrix) -> None:
    """All of them where they make sense: a label has no confidence, and weights are about labels."""
    only_labels = "agreement" in method or "weighted" in method or "churn" in method
    for formats in (FORMATS, (PROBABILITIES, LABEL), (ResponseFormat(1), LABEL)):
        sensible = {LABEL} if only_labels else set(formats) - ({LABEL} if "confidence" in method else set())
        assert formats_of(method, replace(matrix, formats=formats)) == sensible


@pytest.mark.parametrize("method", sorted(METHODS))
def test_queries_are_the_images_that_the_score_uses(method: str, matrix: ResponseMatrix) -> None:
    """Every unique image of every block whose responses matter, and no other: the rest can change unnoticed."""
    untouched = scores_of(matrix, method)
    used: dict[Candidate, int] = dict.fromkeys(untouched, 0)
    blocks = {block for candidate in untouched for block in METHODS[method].query_blocks(candidate)}
    unqueried = matrix
    for name in matrix.responses[0].blocks:
        queried = torch.zeros(len(matrix.responses[0].blocks[name]), 1, dtype=torch.bool)
        if name in blocks:
            queried[matrix.query_index(name).unique()] = True
        lies = matrix
        for row in TESTED:
            p = matrix.responses[row].blocks[name]
            lies = with_responses(lies, row, changed(matrix.responses[row], name, torch.where(queried, lie(p), p)))
            # Of these the training models choose among all that there are.
            if name not in blocks or name not in (NATURAL, CHURN):
                unqueried = with_responses(
                    unqueried, row, changed(unqueried.responses[row], name, torch.where(queried, p, lie(p)))
                )
        if name in blocks:
            for candidate, scores in scores_of(lies, method).items():
                used[candidate] += int(queried.sum()) * (not torch.equal(scores, untouched[candidate]))
    after = scores_of(unqueried, method)
    assert all(torch.equal(after[candidate], untouched[candidate]) for candidate in untouched)
    assert {
        candidate: matrix.n_query_images(*METHODS[method].query_blocks(candidate)) for candidate in untouched
    } == used
    assert min(used.values()) > 0


def only_test_part(matrix: ResponseMatrix, *rows: int) -> ResponseMatrix:
    """The matrix when some rows were queried with the test views alone."""
    for row in rows:
        blocks = {
            name: p if name in (NATURAL, *POOLS) else p[: int(matrix.query_index(name).max()) + 1]
            for name, p in matrix.responses[row].blocks.items()
        }
        matrix = with_responses(matrix, row, Responses(blocks))
    return matrix


@pytest.mark.parametrize("method", sorted(METHODS))
def test_suspects_need_only_the_test_views(method: str, matrix: ResponseMatrix) -> None:
    """Bit by bit the same scores for everybody."""
    partly = only_test_part(matrix, *TESTED)
    assert len(partly.responses[TESTED[0]].blocks[CLEAN]) < N_UNIQUE
    before, after = scores_of(matrix, method), scores_of(partly, method)
    assert all(torch.equal(after[candidate], before[candidate]) for candidate in before)


@pytest.mark.parametrize("method", ENCODERS)
def test_who_trains_an_encoder_must_have_been_queried_with_all_views(method: str, matrix: ResponseMatrix) -> None:
    """Said in words, not as an index out of range."""
    with pytest.raises(AssertionError, match="queried with the test views only and cannot train"):
        scores_of(only_test_part(matrix, 1), method)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"confidence", "confidence_probe"}))
def test_lineage_shows(method: str, matrix: ResponseMatrix) -> None:
    """Where responses carry it, tested stolen models score higher than tested homologous models on average."""
    for candidate, scores in scores_of(matrix, method).items():
        means = scores[0].mean(1)
        assert float(means[[3, 4]].mean()) > float(means[[7, 8]].mean()), candidate


@pytest.mark.parametrize("method", [*ENCODERS, "agreement", "agreement_probe"])
def test_nobody_is_more_like_the_victim_than_itself(method: str, matrix: ResponseMatrix) -> None:
    """Its own similarity is 1 in every view."""
    for scores in scores_of(matrix, method).values():
        torch.testing.assert_close(scores[:, 0], torch.ones(len(FOLDS), N_TEST))
        assert float(scores.max()) <= 1 + 1e-6
        assert float(scores.min()) >= 0.0


def test_labels_have_no_confidence_to_choose(matrix: ResponseMatrix) -> None:
    """A method without a candidate in the formats offered is scored as nothing, not as an error."""
    hard = replace(matrix, formats=(LABEL,))
    resample = Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7}))
    found = score_one(hard, resample, ("confidence", "sac"))
    assert found.chosen("confidence") is None
    assert found.chosen("sac") is not None


@dataclass(frozen=True)
class Memoriser(EncoderMethod):
    """Knows the models that a fold trains on, and no other: stolen ones score 1, negatives -1, others 0."""

    def score(self, request: Request) -> Tensor:
        """(S, M, 1)."""
        scores = torch.zeros(len(request.folds), len(request.matrix.members), 1)
        for fold, mine in zip(request.folds, scores, strict=True):
            mine[list(fold.piracy)] = 1.0
            mine[list(fold.negatives(True))] = -1.0
        return scores


def test_formats_are_chosen_by_models_that_no_scorer_has_seen(
    matrix: ResponseMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the other victim, too: who knows them by heart is no better than chance."""
    monkeypatch.setitem(METHODS, "clean", Memoriser("by heart", CLEAN, True))
    resample = Resample(0, replace(TRAINING, other_victim=(11, 12, 13)), (7,), (3, 4, 8))
    scored = score_one(matrix, resample, ("clean",))
    assert {(one.training_auc, one.training_gap) for one in scored.methods["clean"]} == {(0.5, 0.0)}
