"""Methods that count labels and probabilities, against loops: agreement, matching rate, errors, IPGuard."""

import math

import pytest
import torch
from method_matrix import (
    FORMATS,
    KS,
    N_NATURAL,
    N_POINTS,
    ROLES,
    TESTED,
    TOP2,
    TRAINING,
    changed,
    lie,
    made_up_responses,
    of_points,
    score_one,
    scores_of,
    with_responses,
)

from uapfp_dist.fingerprints.blocks import (
    IPGUARD_K,
    NATURAL,
    BlockKey,
    twin_of,
)
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.methods.registry import METHODS, PROBE_METHODS, REFERENCE_METHODS, twin_name
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL, PROBABILITIES
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import Role


def test_confidence_never_uses_the_victim(matrix: ResponseMatrix) -> None:
    """It is the reference that shows what a recipe alone gives away."""
    other = with_responses(matrix, 0, made_up_responses(Role.HOMOLOGOUS, 99))
    before, after = scores_of(matrix, "confidence"), scores_of(other, "confidence")
    for candidate, scores in before.items():
        assert torch.equal(after[candidate][:, 1:], scores[:, 1:])


def test_agreement_counts_equal_labels(matrix: ResponseMatrix) -> None:
    """Against a loop over models, views and points."""
    for candidate, scores in scores_of(matrix, "agreement").items():
        labels = [answers.blocks[candidate.block].argmax(1).tolist() for answers in matrix.responses]
        for row in range(len(ROLES)):
            for v, view in enumerate(matrix.query_index(candidate.block).tolist()):
                share = sum(labels[row][i] == labels[0][i] for i in view) / N_POINTS
                assert float(scores[0, row, v]) == pytest.approx(share)


@pytest.mark.parametrize(("method", "n"), [("natural_errors", N_NATURAL), ("ipguard", N_POINTS)])
def test_matching_rate_is_the_mean_probability_of_the_victims_label(
    method: str, n: int, matrix: ResponseMatrix
) -> None:
    """Against a loop; for labels, the share of equal ones; top 2 gives nothing for the third."""
    for candidate, scores in scores_of(matrix, method).items():
        victim = matrix.responses[0].blocks[candidate.block].argmax(1).tolist()
        for row in range(len(ROLES)):
            total = 0.0
            for image in range(n):
                p = matrix.responses[row].blocks[candidate.block][image]
                rank = int((p > p[victim[image]]).sum())
                value = float(p[victim[image]])
                total += {PROBABILITIES: value, TOP2: value * (rank < 2), LABEL: float(rank == 0)}[candidate.format]
            assert float(scores[0, row, 0]) == pytest.approx(total / n, abs=1e-6)


def test_weighted_labels_use_only_the_points_of_the_fingerprint(matrix: ResponseMatrix) -> None:
    """Responses of a block that smaller fingerprints leave out count for nothing."""
    fewer = of_points(matrix, 4)
    for candidate, scores in scores_of(fewer, "uap_weighted").items():
        unused = torch.ones(len(matrix.responses[3].blocks[candidate.block]), 1, dtype=torch.bool)
        unused[fewer.query_index(candidate.block).unique()] = False
        p = matrix.responses[3].blocks[candidate.block]
        lies = with_responses(fewer, 3, changed(matrix.responses[3], candidate.block, torch.where(unused, lie(p), p)))
        assert torch.equal(scores_of(lies, "uap_weighted")[candidate], scores)


def test_every_method_on_points_of_the_victims_set_has_a_twin(matrix: ResponseMatrix) -> None:
    """The twin has the same candidates, and queries with nothing that the victim trained on."""
    for name, method in (PROBE_METHODS | REFERENCE_METHODS).items():
        candidates = method.candidates(matrix)
        blocks = [set(method.query_blocks(one)) for one in candidates]
        if all(queried == {NATURAL} for queried in blocks):
            continue
        if name == "ipguard":
            assert twin_name("ipguard_tuned") == "ipguard_probe"
            continue
        twin = METHODS[twin_name(name)]
        found = twin.candidates(matrix)
        assert twin is not method, name
        assert [one.format for one in found] == [one.format for one in candidates]
        assert [set(twin.query_blocks(one)) for one in found] == [set(map(twin_of, each)) for each in blocks]


def test_ipguards_lead_is_chosen_on_the_training_models(matrix: ResponseMatrix) -> None:
    """The points at which stolen training models agree and independent ones do not, whatever test models do."""
    good, bad = (BlockKey(IPGUARD_K, k) for k in KS)
    labels = matrix.responses[0].blocks[good]
    for row in (*TRAINING.piracy, *TRAINING.homologous):
        stolen = row in TRAINING.piracy
        one = changed(matrix.responses[row], good, labels if stolen else labels.roll(1, dims=1))
        matrix = with_responses(matrix, row, changed(one, bad, labels.roll(2, dims=1)))
    scored = score_one(matrix, Resample(0, TRAINING, (7,), TESTED), ("ipguard_tuned",))
    chosen = scored.chosen("ipguard_tuned")
    assert len(scored.methods["ipguard_tuned"]) == len(KS) * len(FORMATS)
    assert chosen is not None
    assert chosen.candidate.block == good


@pytest.mark.parametrize("n_images", [1, 5, 40, 100])
def test_weighted_errors_are_log_odds(n_images: int) -> None:
    """Against a double loop: the n images with the largest a (1 - b), log(a/b) or log((1-a)/(1-b)) for each."""
    agree = torch.rand(9, 40, generator=torch_rng("agree")) < 0.5
    piracy, negative = [1, 2, 3], [4, 5, 6, 7]
    weights = []
    for image in range(40):
        a = (sum(bool(agree[row, image]) for row in piracy) + 0.5) / (len(piracy) + 1)
        b = (sum(bool(agree[row, image]) for row in negative) + 0.5) / (len(negative) + 1)
        weights.append((a, b))
    best = sorted(range(40), key=lambda i: -weights[i][0] * (1 - weights[i][1]))[:n_images]
    scores = weighted_scores(agree, piracy, negative, n_images)
    for row in range(9):
        expected = 0.0
        for image in best:
            a, b = weights[image]
            expected += math.log(a / b) if agree[row, image] else math.log((1 - a) / (1 - b))
        assert float(scores[row]) == pytest.approx(expected, abs=1e-5)
