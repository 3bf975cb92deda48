"""One contract for every fingerprint method, on responses made up so that lineage is known."""

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.blocks import (
    CHURN,
    CHURN_NATURAL,
    CHURN_RANDOM,
    CHURN_UAP,
    CLEAN,
    CLEAN_PROBE,
    DEEPFOOL,
    IPGUARD,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    NATURAL,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    RANDOM_PROBE,
    UAP,
    UAP_PROBE,
    BlockKey,
)
from uapfp_dist.fingerprints.churn_weights import Candidates, fit_churn_weights
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, transfer_scores
from uapfp_dist.fingerprints.methods.registry import METHODS, SIBLING_METHODS
from uapfp_dist.fingerprints.probe import in_turn, one_view, per_point
from uapfp_dist.fingerprints.probe_data import Block, Responses
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, leave_some_out
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, score_resample, scores_within_budget
from uapfp_dist.fingerprints.selection import unique_points
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.method_configs import EncoderConfig

N_POINTS, N_VIEWS, N_TEST, N_NATURAL, N_CLASSES = 10, 5, 3, 12, 4
N_CHURN, ALL_CHURN = 12, 20
"""Churn points that a suspect is sent, and that there are."""
ENCODER = EncoderConfig(hidden=32, embedding=32, learning_rate=1e-2, epochs=5)
ROLES = (
    Role.VICTIM,
    *[Role.PIRACY] * 4,
    *[Role.HOMOLOGOUS] * 4,
    *[Role.SOFT_PIRACY, Role.SAME_DATA],
    *[Role.OTHER_VICTIM_PIRACY] * 3,
    *[Role.SIBLING_PIRACY] * 3,
)
TRAINING = TrainingSet((1, 2), (5, 6), (11,), (14,))
FOLDS = [TRAINING, TrainingSet((1,), (6,), (11,))]
TESTED = (3, 4, 7, 8, 9, 10, 12, 13, 15, 16)
"""Rows that no fold trains on."""

FRACTIONS = (0.5, 0.75)
TOP2 = ResponseFormat(2)
FORMATS = (PROBABILITIES, TOP2, LABEL)
VIEWS = unique_points(
    torch.stack([torch.randperm(8, generator=torch_rng("views", i))[:N_VIEWS] + 3 * i for i in range(N_POINTS)], 1)
)[1]
"""Neighbouring clusters share some of their points."""
N_UNIQUE = int(VIEWS.max()) + 1
PROBE_VIEWS = unique_points(VIEWS.flip(1))[1]
"""Into other points, those of PROBE."""
CANDIDATES = dict.fromkeys((CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM), Candidates(torch.arange(ALL_CHURN), 1))
"""Churn points, each made of an image of its own."""
POOLS = (CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM)
ENCODERS = sorted(name for name, method in METHODS.items() if isinstance(method, EncoderMethod))


def blocks_of_the_probe() -> dict[BlockKey, Block]:
    """Two universal perturbations in turn (the paper's is one), a local one for each point, a view at the boundary."""
    image = torch.zeros(1, 1, 1, 1)
    local = image.expand(N_UNIQUE, 1, 1, 1)
    blocks = {
        PAPER: in_turn(image, VIEWS),
        DEEPFOOL: in_turn(image, VIEWS),
        LAP_MINIMAL: per_point(local, VIEWS),
        LAP_PAPER: per_point(local, VIEWS),
        RANDOM_PAPER: in_turn(image, VIEWS),
        IPGUARD: one_view(image.expand(N_POINTS, 1, 1, 1), VIEWS[0]),
    }
    for fraction in FRACTIONS:
        blocks[BlockKey(UAP, fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[BlockKey(RANDOM, fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[BlockKey(LAP, fraction)] = per_point(local, VIEWS)
        blocks[BlockKey(UAP_PROBE, fraction)] = in_turn(image.expand(2, 1, 1, 1), PROBE_VIEWS)
        blocks[BlockKey(RANDOM_PROBE, fraction)] = in_turn(image.expand(2, 1, 1, 1), PROBE_VIEWS)
    return blocks


BLOCKS = blocks_of_the_probe()


def made_up_responses(role: Role, row: int) -> Responses:
    """Probabilities: stolen models share most of the victim's logits, all share the data's."""
    sizes = {CLEAN: N_UNIQUE, CLEAN_PROBE: N_UNIQUE, NATURAL: 20, **dict.fromkeys(POOLS, ALL_CHURN)}
    sizes |= {key: len(block.point) for key, block in BLOCKS.items()}
    lineage = {Role.VICTIM: 1.0, Role.PIRACY: 0.8, Role.SOFT_PIRACY: 0.8}.get(role, 0.0)
    blocks = {}
    for key, size in sizes.items():
        data, victims, own = (
            torch.randn(size, N_CLASSES, generator=torch_rng(key, part)) for part in ("data", "victim", row)
        )
        blocks[key] = (data + 2 * lineage * victims + 2 * (1 - lineage) * own).softmax(1)
    return Responses(blocks)


@pytest.fixture(scope="module")
def matrix(digits_plan: Plan) -> ResponseMatrix:
    """Seventeen models; the specs are the plan's, the responses made up."""
    by_role: dict[Role, list[Member]] = {}
    for member in digits_plan.judged:
        by_role.setdefault(member.role, []).append(member)
    members = tuple(by_role[role].pop(0) for role in ROLES)
    answers = tuple(made_up_responses(member.role, row) for row, member in enumerate(members))
    labels = answers[0].blocks[NATURAL].argmax(1)
    gather = {key: block.gather for key, block in BLOCKS.items()}
    plain = ResponseMatrix(members, answers, VIEWS, gather, N_TEST, labels, N_NATURAL, FRACTIONS, FORMATS)
    return replace(plain.with_churn([churn_of(one) for one in answers], CANDIDATES, N_CHURN), probe_views=PROBE_VIEWS)


def churn_of(answers: Responses) -> dict[BlockKey, Tensor]:
    """Labels on churn points: of those nothing else is known."""
    return {pool: answers.blocks[pool].argmax(1) for pool in POOLS}


def scores_of(matrix: ResponseMatrix, method: str) -> dict[Candidate, Tensor]:
    """Candidate to (S, M, V) scores under `FOLDS`."""
    scorer = METHODS[method]
    return {c: scorer.score(Request(matrix, c, FOLDS, ENCODER, "seed")) for c in scorer.candidates(matrix)}


def with_responses(matrix: ResponseMatrix, row: int, answers: Responses) -> ResponseMatrix:
    """The matrix with other responses in one row."""
    responses = (*matrix.responses[:row], answers, *matrix.responses[row + 1 :])
    churn = [churn_of(one) for one in responses]
    return replace(matrix, responses=responses).with_churn(churn, CANDIDATES, matrix.n_churn)


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
    only_labels = method == "agreement" or "weighted" in method or "churn" in method
    for formats in (FORMATS, (PROBABILITIES, LABEL), (ResponseFormat(1), LABEL)):
        sensible = {LABEL} if only_labels else set(formats) - ({LABEL} if method == "confidence" else set())
        assert formats_of(method, replace(matrix, formats=formats)) == sensible


def lie(p: Tensor) -> Tensor:
    """Other labels, of which no two images' are confused alike, and another confidence."""
    turn = torch.arange(p.shape[1]) + 1 + torch.arange(len(p))[:, None] % (p.shape[1] - 1)
    return ((p**3) / (p**3).sum(1, keepdim=True)).gather(1, turn % p.shape[1])


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


def changed(answers: Responses, block: BlockKey, p: Tensor) -> Responses:
    """The same responses but for one block."""
    return Responses({**answers.blocks, block: p})


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


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"confidence"}))
def test_lineage_shows(method: str, matrix: ResponseMatrix) -> None:
    """Where responses carry it, tested stolen models score higher than tested homologous models on average."""
    for candidate, scores in scores_of(matrix, method).items():
        means = scores[0].mean(1)
        assert float(means[[3, 4]].mean()) > float(means[[7, 8]].mean()), candidate


@pytest.mark.parametrize("method", [*ENCODERS, "agreement"])
def test_nobody_is_more_like_the_victim_than_itself(method: str, matrix: ResponseMatrix) -> None:
    """Its own similarity is 1 in every view."""
    for scores in scores_of(matrix, method).values():
        torch.testing.assert_close(scores[:, 0], torch.ones(len(FOLDS), N_TEST))
        assert float(scores.max()) <= 1 + 1e-6
        assert float(scores.min()) >= 0.0


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


def of_points(matrix: ResponseMatrix, n: int) -> ResponseMatrix:
    """Fingerprints of the first clusters only."""
    gather = {name: index[:, :n] for name, index in matrix.gather.items()}
    return replace(matrix, views=matrix.views[:, :n], gather=gather, probe_views=PROBE_VIEWS[:, :n])


def test_images_of_smaller_fingerprints_are_counted_as_they_are(matrix: ResponseMatrix) -> None:
    """With fewer points what the views need is no longer the first images of a block without a gap."""
    fewer = of_points(matrix, 4)
    for block in (CLEAN, BlockKey(UAP, 0.5)):
        assert fewer.n_query_images(block) == len(matrix.query_index(block)[:, :4].unique())


def test_weighted_labels_use_only_the_points_of_the_fingerprint(matrix: ResponseMatrix) -> None:
    """Responses of a block that smaller fingerprints leave out count for nothing."""
    fewer = of_points(matrix, 4)
    for candidate, scores in scores_of(fewer, "uap_weighted").items():
        unused = torch.ones(len(matrix.responses[3].blocks[candidate.block]), 1, dtype=torch.bool)
        unused[fewer.query_index(candidate.block).unique()] = False
        p = matrix.responses[3].blocks[candidate.block]
        lies = with_responses(fewer, 3, changed(matrix.responses[3], candidate.block, torch.where(unused, lie(p), p)))
        assert torch.equal(scores_of(lies, "uap_weighted")[candidate], scores)


@pytest.fixture(scope="module")
def scored(matrix: ResponseMatrix) -> ScoredResample:
    """One resample by all methods."""
    return score_resample(
        matrix, Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7})), tuple(METHODS), ENCODER, "seed"
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_budget_buys_what_fits(method: str, matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """Views: the longest run of first views whose unique images are not more than the budget. Images: so many."""
    scorer = METHODS[method]
    for one, budget in product(scored.methods[method], (1, 7, 10, 20, 25, 30, 1000)):
        found = scores_within_budget(matrix, scored.resample, method, one, budget)
        blocks = scorer.query_blocks(one.candidate)
        if set(blocks) <= {NATURAL, IPGUARD, *POOLS}:
            assert found is not None
            assert found[1] == min(budget, {IPGUARD: N_POINTS}.get(blocks[0], 20))
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
    for one in score_resample(everything, scored.resample, (method,), ENCODER, "seed").methods[method]:
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


def test_methods_of_siblings_need_siblings(matrix: ResponseMatrix) -> None:
    """Without churn points and points of PROBE they offer nothing, and are no error."""
    answers = matrix.responses
    without = replace(
        matrix,
        churn={},
        probe_views=None,
        gather={key: index for key, index in matrix.gather.items() if key.kind not in (UAP_PROBE, RANDOM_PROBE)},
    )
    assert without.responses == answers
    for name, method in METHODS.items():
        assert bool(method.candidates(matrix))
        assert bool(method.candidates(without)) == (name not in SIBLING_METHODS)


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


def test_no_budget_at_all_is_refused(matrix: ResponseMatrix, scored: ScoredResample) -> None:
    """In one line."""
    with pytest.raises(UserError, match="query budget: expected at least 1 image, got 0"):
        scores_within_budget(matrix, scored.resample, "sac", scored.methods["sac"][0], 0)


def test_labels_have_no_confidence_to_choose(matrix: ResponseMatrix) -> None:
    """A method without a candidate in the formats offered is scored as nothing, not as an error."""
    hard = replace(matrix, formats=(LABEL,))
    resample = Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7}))
    found = score_resample(hard, resample, ("confidence", "sac"), ENCODER, "seed")
    assert found.chosen("confidence") is None
    assert found.chosen("sac") is not None


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
    scored = score_resample(matrix, resample, ("clean",), ENCODER, "seed")
    assert {(one.training_auc, one.training_gap) for one in scored.methods["clean"]} == {(0.5, 0.0)}
