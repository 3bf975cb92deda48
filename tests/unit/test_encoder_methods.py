"""Scores by encoders: which models they learn from, and what is fitted once or gathered in parts."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from method_matrix import (
    ENCODER,
    FOLDS,
    FORMATS,
    FRACTIONS,
    N_CLASSES,
    N_POINTS,
    N_TEST,
    ROLES,
    TESTED,
    TOP2,
    TRAINING,
    made_up_responses,
    of_points,
    score_one,
    scores_of,
    with_responses,
)

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import (
    UAP,
    BlockKey,
)
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, transfer_scores
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL, PROBABILITIES
from uapfp_dist.tasks.members import Role


def test_controls_learn_from_piracy_of_another_victim(matrix: ResponseMatrix) -> None:
    """The methods differ in nothing else."""
    without = replace(TRAINING, other_victim=())
    for method in ("uap", "weighted_errors"):
        for candidate in METHODS[method].candidates(matrix):
            plain, controls, bare = (
                METHODS[name].score(Request(matrix, candidate, [fold], ENCODER, "seed"))
                for name, fold in ((method, TRAINING), (f"{method}_controls", TRAINING), (method, without))
            )
            assert torch.equal(plain, bare)
            assert not torch.equal(plain, controls)
            same = METHODS[f"{method}_controls"].score(Request(matrix, candidate, [without], ENCODER, "seed"))
            assert torch.equal(same, plain)


def test_an_encoder_at_every_radius_and_format_averaged(matrix: ResponseMatrix) -> None:
    """Every radius, the format and the poorer ones; of an ensemble, of all its methods."""
    blocks = tuple(BlockKey(UAP, fraction) for fraction in FRACTIONS)
    assert {c.blocks for c in METHODS["uap_ensemble"].candidates(matrix)} >= {blocks}
    for fmt, formats in {PROBABILITIES: FORMATS, TOP2: (TOP2, LABEL), LABEL: (LABEL,)}.items():
        request = Request(matrix, Candidate(blocks, fmt), FOLDS, ENCODER, "seed")
        rows = {}
        for method in ("uap", "uap_controls"):
            alone = [Candidate((block,), part) for block, part in product(blocks, formats)]
            rows[method] = torch.stack(
                [METHODS[method].score(replace(request, candidate=c, memo={})) for c in alone]
            ).mean(0)
            torch.testing.assert_close(METHODS[method].score(request), rows[method])
        torch.testing.assert_close(METHODS["uap_ensemble"].score(request), torch.stack([*rows.values()]).mean(0))


def test_methods_that_share_an_encoder_fit_it_once(matrix: ResponseMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    task = EncoderMethod.task
    monkeypatch.setattr(EncoderMethod, "task", lambda self, request: fitted.append(self) or task(self, request))
    resample = Resample(0, TrainingSet((1, 2), (5, 6), (11,)), (), TESTED)
    scored = score_one(matrix, resample, ("uap", "uap_controls", "uap_ensemble"))
    assert len(fitted) == 2 * len(METHODS["uap"].single(matrix))
    alone = score_one(matrix, resample, ("uap_ensemble",))
    pairs = zip(scored.methods["uap_ensemble"], alone.methods["uap_ensemble"], strict=True)
    assert all(torch.equal(a.scores, b.scores) for a, b in pairs)


@pytest.mark.parametrize("n_models", [1, 3])
def test_fingerprints_gathered_a_few_models_at_a_time(
    n_models: int, matrix: ResponseMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the portions is about memory, not about scores."""
    whole = scores_of(matrix, "uap")
    monkeypatch.setattr(
        "uapfp_dist.fingerprints.methods.encoder_method.CHUNK", n_models * N_TEST * 2 * N_POINTS * N_CLASSES
    )
    for candidate, scores in scores_of(matrix, "uap").items():
        torch.testing.assert_close(scores, whole[candidate], rtol=0, atol=1e-6)


def test_an_encoder_scores_its_own_matrix_as_its_method_does(matrix: ResponseMatrix) -> None:
    """Transfer to where it came from is no transfer; other suspects elsewhere change nothing but their own scores."""
    for candidate, scores in scores_of(matrix, "uap_paper").items():
        alone = transfer_scores(matrix, TRAINING, matrix, candidate, ENCODER, "seed")
        torch.testing.assert_close(alone, scores[0], rtol=0, atol=1e-6)  # a stack of another size sums in another order
    elsewhere = with_responses(matrix, 1, made_up_responses(Role.HOMOLOGOUS, 99))
    moved = transfer_scores(matrix, TRAINING, elsewhere, candidate, ENCODER, "seed")
    rest = [row for row in range(len(ROLES)) if row != 1]
    torch.testing.assert_close(moved[rest], scores[0, rest], rtol=0, atol=1e-6)
    assert float(moved[1].mean()) < float(scores[0, 1].mean())


def test_transfer_between_fingerprints_of_unequal_length_is_refused(matrix: ResponseMatrix) -> None:
    """In one line with both lengths."""
    candidate = METHODS["uap_paper"].candidates(matrix)[0]
    with pytest.raises(UserError, match=r"expected fingerprints of the 80 numbers .* got 64"):
        transfer_scores(matrix, TRAINING, of_points(matrix, 8), candidate, ENCODER, "seed")
