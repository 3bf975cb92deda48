"""Sample correlation: the paper's, by a slow reference, and the images that it takes."""

from dataclasses import replace

import pytest
import torch
from method_matrix import (
    ENCODER,
    FOLDS,
    N_CLASSES,
    N_NATURAL,
    TOP2,
    TRAINING,
    changed,
    scores_of,
    with_responses,
)
from torch import Tensor

from uapfp_dist.fingerprints.blocks import (
    NATURAL,
)
from uapfp_dist.fingerprints.methods.base import Request
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.methods.sample_correlation import common_errors
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL, PROBABILITIES


def test_sample_correlation_is_that_of_the_paper(matrix: ResponseMatrix) -> None:
    """Against a double loop over images: cosine within a model, mean absolute difference between models."""

    def one_hot(p: Tensor) -> Tensor:
        return torch.eye(N_CLASSES)[int(p.argmax())]

    def top2(p: Tensor) -> Tensor:
        return p * (p >= p.topk(2).values[-1])

    shown = {PROBABILITIES: lambda p: p, TOP2: top2, LABEL: one_hot}
    cosine = torch.nn.functional.cosine_similarity
    for candidate, scores in scores_of(matrix, "sac").items():
        for row in (0, 1, 7):
            total = 0.0
            for i in range(N_NATURAL):
                for j in range(N_NATURAL):
                    mine, victims = (
                        cosine(
                            *(shown[candidate.format](matrix.responses[r].blocks[NATURAL][k]) for k in (i, j)), dim=0
                        )
                        for r in (row, 0)
                    )
                    total += abs(float(mine) - float(victims))
            assert float(scores[0, row, 0]) == pytest.approx(-total / N_NATURAL**2, abs=1e-5)
        assert float(scores[0, 0, 0]) == 0.0


def test_sample_correlation_does_not_know_the_names_of_the_classes(matrix: ResponseMatrix) -> None:
    """A suspect whose classes are permuted scores the same: what resembles what is all that counts."""
    blocks = matrix.responses[3].blocks
    renamed = with_responses(matrix, 3, Responses({**blocks, NATURAL: blocks[NATURAL].roll(1, dims=1)}))
    before, after = scores_of(matrix, "sac"), scores_of(renamed, "sac")
    for candidate, scores in before.items():
        torch.testing.assert_close(after[candidate], scores)


def test_sac_w_takes_what_stolen_training_models_get_wrong_in_common(matrix: ResponseMatrix) -> None:
    """Against a count; SAC-source takes the victim's first errors whatever others say."""
    truth = matrix.natural_truth
    assert truth is not None
    wrong = (matrix.labels(NATURAL) != truth).tolist()
    found = common_errors(matrix, TRAINING).tolist()
    counts = [sum(wrong[row][i] for row in TRAINING.piracy) for i in range(len(truth))]
    ours = sum(wrong[0])
    assert len(found) == N_NATURAL
    assert all(wrong[0][i] for i in found[:ours])
    assert [counts[i] for i in found[:ours]] == sorted((counts[i] for i in range(ours)), reverse=True)
    for candidate, scores in scores_of(matrix, "sac_w").items():
        request = Request(matrix, candidate, FOLDS, ENCODER, "seed")
        first = replace(matrix, responses=tuple(_reordered(one, found) for one in matrix.responses))
        plain = METHODS["sac"].score(replace(request, matrix=first))
        torch.testing.assert_close(scores[0], plain[0])
        assert not torch.equal(scores[0], METHODS["sac"].score(request)[0])


def _reordered(answers: Responses, first: list[int]) -> Responses:
    """The images of `first` before the others."""
    natural = answers.blocks[NATURAL]
    return changed(answers, NATURAL, natural[[*first, *(i for i in range(len(natural)) if i not in first)]])
