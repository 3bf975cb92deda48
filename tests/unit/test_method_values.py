"""What single methods compute: by slow references, and what each of them may use."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from method_matrix import (
    ENCODER,
    FOLDS,
    FORMATS,
    FRACTIONS,
    KS,
    N_CHURN,
    N_CLASSES,
    N_NATURAL,
    N_POINTS,
    N_TEST,
    POOLS,
    ROLES,
    TESTED,
    TOP2,
    TRAINING,
    changed,
    lie,
    made_up_responses,
    of_points,
    scores_of,
    with_responses,
)
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import (
    IPGUARD_K,
    NATURAL,
    TWINS,
    UAP,
    BlockKey,
    twin_of,
)
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, transfer_scores
from uapfp_dist.fingerprints.methods.registry import METHODS, PROBE_METHODS, REFERENCE_METHODS, twin_name
from uapfp_dist.fingerprints.methods.sample_correlation import common_errors
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, leave_some_out
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import score_resample
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
    scored = score_resample(matrix, resample, ("uap", "uap_controls", "uap_ensemble"), ENCODER, "seed")
    assert len(fitted) == 2 * len(METHODS["uap"].single(matrix))
    alone = score_resample(matrix, resample, ("uap_ensemble",), ENCODER, "seed")
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


def test_weighted_labels_use_only_the_points_of_the_fingerprint(matrix: ResponseMatrix) -> None:
    """Responses of a block that smaller fingerprints leave out count for nothing."""
    fewer = of_points(matrix, 4)
    for candidate, scores in scores_of(fewer, "uap_weighted").items():
        unused = torch.ones(len(matrix.responses[3].blocks[candidate.block]), 1, dtype=torch.bool)
        unused[fewer.query_index(candidate.block).unique()] = False
        p = matrix.responses[3].blocks[candidate.block]
        lies = with_responses(fewer, 3, changed(matrix.responses[3], candidate.block, torch.where(unused, lie(p), p)))
        assert torch.equal(scores_of(lies, "uap_weighted")[candidate], scores)


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
    scored = score_resample(matrix, Resample(0, TRAINING, (7,), TESTED), ("ipguard_tuned",), ENCODER, "seed")
    chosen = scored.chosen("ipguard_tuned")
    assert len(scored.methods["ipguard_tuned"]) == len(KS) * len(FORMATS)
    assert chosen is not None
    assert chosen.candidate.block == good


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
