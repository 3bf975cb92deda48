"""Methods of churn points: shares and weights against loops, and which training models they may use."""

from dataclasses import replace

import pytest
import torch
from method_matrix import (
    ENCODER,
    N_CHURN,
    POOLS,
    ROLES,
    TESTED,
    TRAINING,
    made_up_responses,
    scores_of,
    with_responses,
)
from torch import Tensor

from uapfp_dist.fingerprints.blocks import (
    TWINS,
)
from uapfp_dist.fingerprints.methods.base import Request
from uapfp_dist.fingerprints.methods.registry import METHODS, PROBE_METHODS, REFERENCE_METHODS
from uapfp_dist.fingerprints.resamples import Resample, leave_some_out
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.tasks.members import Role


def test_methods_of_siblings_need_siblings(matrix: ResponseMatrix) -> None:
    """Without churn points and points of PROBE they offer nothing, and are no error."""
    answers = matrix.responses
    without = replace(
        matrix,
        churn={},
        probe_views=None,
        gather={key: index for key, index in matrix.gather.items() if key.kind not in TWINS.values()},
    )
    assert without.responses == answers
    for name, method in METHODS.items():
        assert bool(method.candidates(matrix))
        assert bool(method.candidates(without)) == (name in PROBE_METHODS | REFERENCE_METHODS)


def test_churn_is_the_share_of_the_victims_labels(matrix: ResponseMatrix) -> None:
    """Against a loop, on the first points of its pool; the victim's own is 1."""
    for name, pool in zip(("churn", "churn_natural", "churn_uap", "churn_random"), POOLS, strict=True):
        ((_, scores),) = scores_of(matrix, name).items()
        labels = matrix.churn[pool].tolist()
        for row in range(len(ROLES)):
            same = sum(labels[row][i] == labels[0][i] for i in range(N_CHURN))
            assert float(scores[0, row, 0]) == pytest.approx(same / N_CHURN)
        assert float(scores[1, 0, 0]) == 1.0


def test_weighted_churn_learns_from_all_training_negatives(matrix: ResponseMatrix) -> None:
    """Homologous models, piracy of another victim, piracy of siblings: each changes what it learns."""
    (candidate,) = METHODS["weighted_churn"].candidates(matrix)
    folds = [
        TRAINING,
        replace(TRAINING, sibling=()),
        replace(TRAINING, other_victim=()),
        replace(TRAINING, homologous=(5,)),
    ]
    scores = METHODS["weighted_churn"].score(Request(matrix, candidate, folds, ENCODER, "seed"))
    assert all(not torch.equal(scores[0], other) for other in scores[1:])


def test_weighted_churn_controls_never_sees_piracy_of_siblings(matrix: ResponseMatrix) -> None:
    """It learns what `weighted_churn` learns where there is none of it."""
    (candidate,) = METHODS["weighted_churn_controls"].candidates(matrix)
    folds = [TRAINING, replace(TRAINING, sibling=()), replace(TRAINING, other_victim=())]
    scores = METHODS["weighted_churn_controls"].score(Request(matrix, candidate, folds, ENCODER, "seed"))
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])
    plain = METHODS["weighted_churn"].score(Request(matrix, candidate, folds[1:2], ENCODER, "seed"))
    assert torch.equal(scores[0], plain[0])


def test_points_are_selected_inside_every_fold(matrix: ResponseMatrix) -> None:
    """A left-out model's answers change no other model's score by that fold; a training model's do."""
    (candidate,) = METHODS["weighted_churn"].candidates(matrix)
    resample = Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7}))
    stays = [fold for fold, _ in leave_some_out(resample.training)]
    first, out = leave_some_out(resample.training)[0]

    def scores(answers: ResponseMatrix) -> Tensor:
        return METHODS["weighted_churn"].score(Request(answers, candidate, stays, ENCODER, "seed"))

    before = scores(matrix)
    for row in (*out.piracy, *out.homologous, *out.other_victim, *out.sibling):
        after = scores(with_responses(matrix, row, made_up_responses(Role.HOMOLOGOUS, 99)))
        rest = [other for other in range(len(ROLES)) if other != row]
        assert torch.equal(after[0, rest], before[0, rest])
    changed_training = scores(with_responses(matrix, first.piracy[0], made_up_responses(Role.HOMOLOGOUS, 99)))
    assert not torch.equal(changed_training[0, list(TESTED)], before[0, list(TESTED)])
