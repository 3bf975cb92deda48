"""One contract for every fingerprint method, on answers made up so that lineage is known."""

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.blocks import block_name
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, transfer_scores
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.probe import in_turn, one_view, per_point
from uapfp_dist.fingerprints.probe_data import Block, Responses
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, score_resample, scores_within_budget
from uapfp_dist.fingerprints.selection import unique_points
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.method_configs import EncoderConfig

N_POINTS, N_VIEWS, N_TEST, N_NATURAL, N_CLASSES = 10, 5, 3, 12, 4
ENCODER = EncoderConfig(hidden=32, embedding=32, learning_rate=1e-2, epochs=5)
ROLES = (
    "victim",
    *["piracy"] * 4,
    *["homologous"] * 4,
    *["soft_piracy", "same_data"],
    *["other_victim_piracy"] * 3,
)
TRAINING = TrainingSet((1, 2), (5, 6), (11,))
FOLDS = [TRAINING, TrainingSet((1,), (6,), (11,))]
TESTED = (3, 4, 7, 8, 9, 10, 12, 13)
"""Rows that no fold learns from."""

FRACTIONS = (0.5, 0.75)
TOP2 = ResponseFormat(2)
FORMATS = (PROBABILITIES, TOP2, LABEL)
VIEWS = unique_points(
    torch.stack([torch.randperm(8, generator=torch_rng("views", i))[:N_VIEWS] + 3 * i for i in range(N_POINTS)], 1)
)[1]
"""Neighbouring clusters share some of their points."""
N_UNIQUE = int(VIEWS.max()) + 1
ENCODERS = sorted(name for name, method in METHODS.items() if isinstance(method, EncoderMethod))


def blocks_of_the_probe() -> dict[str, Block]:
    """Two universal perturbations in turn (the paper's is one), a local one for each point, a view at the boundary."""
    image = torch.zeros(1, 1, 1, 1)
    local = image.expand(N_UNIQUE, 1, 1, 1)
    blocks = {
        "uap_paper": in_turn(image, VIEWS),
        "uap_deepfool": in_turn(image, VIEWS),
        "lap_minimal": per_point(local, VIEWS),
        "lap@1": per_point(local, VIEWS),
        "random@1": in_turn(image, VIEWS),
        "ipguard": one_view(image.expand(N_POINTS, 1, 1, 1), VIEWS[0]),
    }
    for fraction in FRACTIONS:
        blocks[block_name("uap", fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[block_name("random", fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[block_name("lap", fraction)] = per_point(local, VIEWS)
    return blocks


BLOCKS = blocks_of_the_probe()


def made_up_answers(role: str, row: int) -> Responses:
    """Probabilities: pirates share most of the victim's logits, everybody shares the data's."""
    sizes = {"clean": N_UNIQUE, "natural": 20} | {name: len(block.point) for name, block in BLOCKS.items()}
    lineage = {"victim": 1.0, "piracy": 0.8, "soft_piracy": 0.8}.get(role, 0.0)
    blocks = {}
    for name, size in sizes.items():
        data, victims, own = (
            torch.randn(size, N_CLASSES, generator=torch_rng(name, part)) for part in ("data", "victim", row)
        )
        blocks[name] = (data + 2 * lineage * victims + 2 * (1 - lineage) * own).softmax(1)
    return Responses(blocks)


@pytest.fixture(scope="module")
def panel(digits_plan: Plan) -> ResponseMatrix:
    """Fourteen models; the specs are the plan's, the answers made up."""
    by_role: dict[str, list[Member]] = {}
    for member in digits_plan.judged:
        by_role.setdefault(member.role, []).append(member)
    members = tuple(by_role[role].pop(0) for role in ROLES)
    answers = tuple(made_up_answers(member.role, row) for row, member in enumerate(members))
    labels = answers[0].blocks["natural"].argmax(1)
    gather = {name: block.gather for name, block in BLOCKS.items()}
    return ResponseMatrix(members, answers, VIEWS, gather, N_TEST, labels, N_NATURAL, FRACTIONS, FORMATS)


def scores_of(panel: ResponseMatrix, method: str) -> dict[Candidate, Tensor]:
    """Candidate to (S, M, V) scores under `FOLDS`."""
    way = METHODS[method]
    return {c: way.score(Request(panel, c, FOLDS, ENCODER, "seed")) for c in way.candidates(panel)}


def with_answers(panel: ResponseMatrix, row: int, answers: Responses) -> ResponseMatrix:
    """The panel with other answers in one row."""
    return replace(panel, answers=(*panel.answers[:row], answers, *panel.answers[row + 1 :]))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_have_their_shape_and_are_numbers(method: str, panel: ResponseMatrix) -> None:
    """One per training set, model and view (methods without views have one)."""
    found = scores_of(panel, method)
    assert found
    for scores in found.values():
        assert scores.shape[:2] == (len(FOLDS), len(ROLES))
        assert scores.shape[2] == (N_TEST if METHODS[method].by_view else 1)
        assert bool(scores.isfinite().all())
    assert METHODS[method].about


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_can_be_repeated(method: str, panel: ResponseMatrix) -> None:
    """Bit by bit."""
    first, again = scores_of(panel, method), scores_of(panel, method)
    assert all(torch.equal(first[candidate], again[candidate]) for candidate in first)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_score_of_a_suspect_is_its_own(method: str, panel: ResponseMatrix) -> None:
    """It depends neither on what other suspects answer nor on what role they (or it) are said to have."""
    before = scores_of(panel, method)
    other = with_answers(panel, TESTED[0], made_up_answers("homologous", 99))
    roles = list(panel.members)
    for one, two in zip(TESTED, reversed(TESTED), strict=True):
        roles[one] = panel.members[two]
    renamed = replace(other, members=tuple(roles))
    after = scores_of(renamed, method)
    rest = [row for row in range(len(ROLES)) if row != TESTED[0]]
    for candidate, scores in before.items():
        torch.testing.assert_close(after[candidate][:, rest], scores[:, rest], rtol=0, atol=1e-6)
        assert not torch.equal(after[candidate][:, TESTED[0]], scores[:, TESTED[0]])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_labels_know_no_confidence(method: str, panel: ResponseMatrix) -> None:
    """Sharpening every probability changes no label: hard formats stay as they are, soft ones do not."""
    sharp = tuple(
        Responses({name: p**4 / (p**4).sum(1, keepdim=True) for name, p in answers.blocks.items()})
        for answers in panel.answers
    )
    after = scores_of(replace(panel, answers=sharp), method)
    for candidate, scores in scores_of(panel, method).items():
        assert torch.equal(after[candidate], scores) == (candidate.format == LABEL), candidate


def formats_of(method: str, panel: ResponseMatrix) -> set[ResponseFormat]:
    """The formats among a method's candidates."""
    return {candidate.format for candidate in METHODS[method].candidates(panel)}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_offer_the_formats_of_the_panel(method: str, panel: ResponseMatrix) -> None:
    """All of them where they make sense: a label has no confidence, and weights are about labels."""
    only_labels = method == "agreement" or "weighted" in method
    for formats in (FORMATS, (PROBABILITIES, LABEL), (ResponseFormat(1), LABEL)):
        sensible = {LABEL} if only_labels else set(formats) - ({LABEL} if method == "confidence" else set())
        assert formats_of(method, replace(panel, formats=formats)) == sensible


def lie(p: Tensor) -> Tensor:
    """Other labels, of which no two images' are confused alike, and another confidence."""
    turn = torch.arange(p.shape[1]) + 1 + torch.arange(len(p))[:, None] % (p.shape[1] - 1)
    return ((p**3) / (p**3).sum(1, keepdim=True)).gather(1, turn % p.shape[1])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_queries_are_the_images_that_the_score_looks_at(method: str, panel: ResponseMatrix) -> None:
    """Every unique image of every block whose answers matter, and no other: the rest can change unnoticed."""
    untouched = scores_of(panel, method)
    looked_at: dict[Candidate, int] = dict.fromkeys(untouched, 0)
    unasked = panel
    for name in panel.answers[0].blocks:
        asked = torch.zeros(len(panel.answers[0].blocks[name]), 1, dtype=torch.bool)
        asked[panel.query_index(name).unique()] = True
        lies = panel
        for row in TESTED:
            p = panel.answers[row].blocks[name]
            lies = with_answers(lies, row, changed(panel.answers[row], name, torch.where(asked, lie(p), p)))
            if name != "natural":
                unasked = with_answers(unasked, row, changed(unasked.answers[row], name, torch.where(asked, p, lie(p))))
        for candidate, scores in scores_of(lies, method).items():
            looked_at[candidate] += int(asked.sum()) * (not torch.equal(scores, untouched[candidate]))
    after = scores_of(unasked, method)
    assert all(torch.equal(after[candidate], untouched[candidate]) for candidate in untouched)
    assert {candidate: panel.n_query_images(*METHODS[method].sent(candidate)) for candidate in untouched} == looked_at
    assert min(looked_at.values()) > 0


def changed(answers: Responses, block: str, p: Tensor) -> Responses:
    """The same answers but for one block."""
    return Responses({**answers.blocks, block: p})


def only_test_part(panel: ResponseMatrix, *rows: int) -> ResponseMatrix:
    """The panel when some rows were asked the test views alone."""
    for row in rows:
        blocks = {
            name: p if name == "natural" else p[: int(panel.query_index(name).max()) + 1]
            for name, p in panel.answers[row].blocks.items()
        }
        panel = with_answers(panel, row, Responses(blocks))
    return panel


@pytest.mark.parametrize("method", sorted(METHODS))
def test_suspects_need_only_the_test_views(method: str, panel: ResponseMatrix) -> None:
    """Bit by bit the same scores for everybody."""
    partly = only_test_part(panel, *TESTED)
    assert len(partly.answers[TESTED[0]].blocks["clean"]) < N_UNIQUE
    before, after = scores_of(panel, method), scores_of(partly, method)
    assert all(torch.equal(after[candidate], before[candidate]) for candidate in before)


@pytest.mark.parametrize("method", ENCODERS)
def test_who_trains_an_encoder_must_have_answered_all_views(method: str, panel: ResponseMatrix) -> None:
    """Said in words, not as an index out of range."""
    with pytest.raises(AssertionError, match="asked the test views only and cannot train"):
        scores_of(only_test_part(panel, 1), method)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"confidence"}))
def test_lineage_shows(method: str, panel: ResponseMatrix) -> None:
    """Where answers carry it, tested pirates score higher than tested homologous models on average."""
    for candidate, scores in scores_of(panel, method).items():
        means = scores[0].mean(1)
        assert float(means[[3, 4]].mean()) > float(means[[7, 8]].mean()), candidate


@pytest.mark.parametrize("method", [*ENCODERS, "agreement"])
def test_nobody_is_more_like_the_victim_than_itself(method: str, panel: ResponseMatrix) -> None:
    """Its own similarity is 1 in every view."""
    for scores in scores_of(panel, method).values():
        torch.testing.assert_close(scores[:, 0], torch.ones(len(FOLDS), N_TEST))
        assert float(scores.max()) <= 1 + 1e-6
        assert float(scores.min()) >= 0.0


def test_confidence_never_looks_at_the_victim(panel: ResponseMatrix) -> None:
    """It is the reference that shows what a recipe alone gives away."""
    other = with_answers(panel, 0, made_up_answers("homologous", 99))
    before, after = scores_of(panel, "confidence"), scores_of(other, "confidence")
    for candidate, scores in before.items():
        assert torch.equal(after[candidate][:, 1:], scores[:, 1:])


def test_agreement_counts_equal_labels(panel: ResponseMatrix) -> None:
    """Against a loop over models, views and points."""
    for candidate, scores in scores_of(panel, "agreement").items():
        labels = [answers.blocks[candidate.block].argmax(1).tolist() for answers in panel.answers]
        for row in range(len(ROLES)):
            for v, view in enumerate(panel.query_index(candidate.block).tolist()):
                share = sum(labels[row][i] == labels[0][i] for i in view) / N_POINTS
                assert float(scores[0, row, v]) == pytest.approx(share)


@pytest.mark.parametrize(("method", "n"), [("natural_errors", N_NATURAL), ("ipguard", N_POINTS)])
def test_matching_rate_is_the_mean_probability_of_the_victims_label(method: str, n: int, panel: ResponseMatrix) -> None:
    """Against a loop; for labels, the share of equal ones; top 2 gives nothing for the third."""
    for candidate, scores in scores_of(panel, method).items():
        victim = panel.answers[0].blocks[candidate.block].argmax(1).tolist()
        for row in range(len(ROLES)):
            total = 0.0
            for image in range(n):
                p = panel.answers[row].blocks[candidate.block][image]
                rank = int((p > p[victim[image]]).sum())
                value = float(p[victim[image]])
                total += {PROBABILITIES: value, TOP2: value * (rank < 2), LABEL: float(rank == 0)}[candidate.format]
            assert float(scores[0, row, 0]) == pytest.approx(total / n, abs=1e-6)


def test_sample_correlation_is_that_of_the_paper(panel: ResponseMatrix) -> None:
    """Against a double loop over images: cosine within a model, mean absolute difference between models."""

    def one_hot(p: Tensor) -> Tensor:
        return torch.eye(N_CLASSES)[int(p.argmax())]

    def top2(p: Tensor) -> Tensor:
        return p * (p >= p.topk(2).values[-1])

    shown = {PROBABILITIES: lambda p: p, TOP2: top2, LABEL: one_hot}
    cosine = torch.nn.functional.cosine_similarity
    for candidate, scores in scores_of(panel, "sac").items():
        for row in (0, 1, 7):
            total = 0.0
            for i in range(N_NATURAL):
                for j in range(N_NATURAL):
                    mine, victims = (
                        cosine(*(shown[candidate.format](panel.answers[r].blocks["natural"][k]) for k in (i, j)), dim=0)
                        for r in (row, 0)
                    )
                    total += abs(float(mine) - float(victims))
            assert float(scores[0, row, 0]) == pytest.approx(-total / N_NATURAL**2, abs=1e-5)
        assert float(scores[0, 0, 0]) == 0.0


def test_sample_correlation_does_not_know_the_names_of_the_classes(panel: ResponseMatrix) -> None:
    """A suspect whose classes are permuted scores the same: what resembles what is all that counts."""
    blocks = panel.answers[3].blocks
    renamed = with_answers(panel, 3, Responses({**blocks, "natural": blocks["natural"].roll(1, dims=1)}))
    before, after = scores_of(panel, "sac"), scores_of(renamed, "sac")
    for candidate, scores in before.items():
        torch.testing.assert_close(after[candidate], scores)


def test_controls_learn_from_pirates_of_another_victim(panel: ResponseMatrix) -> None:
    """The rows differ in nothing else."""
    without = replace(TRAINING, other_victim=())
    for method in ("uap", "weighted_errors"):
        for candidate in METHODS[method].candidates(panel):
            plain, controls, bare = (
                METHODS[name].score(Request(panel, candidate, [fold], ENCODER, "seed"))
                for name, fold in ((method, TRAINING), (f"{method}_controls", TRAINING), (method, without))
            )
            assert torch.equal(plain, bare)
            assert not torch.equal(plain, controls)
            same = METHODS[f"{method}_controls"].score(Request(panel, candidate, [without], ENCODER, "seed"))
            assert torch.equal(same, plain)


def test_an_encoder_at_every_radius_and_format_averaged(panel: ResponseMatrix) -> None:
    """Every radius, the format and the poorer ones; of an ensemble, of all its rows."""
    block = "+".join(block_name("uap", fraction) for fraction in FRACTIONS)
    assert {c.block for c in METHODS["uap_ensemble"].candidates(panel)} >= {block}
    for fmt, formats in {PROBABILITIES: FORMATS, TOP2: (TOP2, LABEL), LABEL: (LABEL,)}.items():
        request = Request(panel, Candidate(block, fmt), FOLDS, ENCODER, "seed")
        rows = {}
        for method in ("uap", "uap_controls"):
            alone = [Candidate(block_name("uap", f), part) for f, part in product(FRACTIONS, formats)]
            rows[method] = torch.stack(
                [METHODS[method].score(replace(request, candidate=c, memo={})) for c in alone]
            ).mean(0)
            torch.testing.assert_close(METHODS[method].score(request), rows[method])
        torch.testing.assert_close(METHODS["uap_ensemble"].score(request), torch.stack([*rows.values()]).mean(0))


def test_rows_that_share_an_encoder_fit_it_once(panel: ResponseMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    fit = EncoderMethod.fit
    monkeypatch.setattr(EncoderMethod, "fit", lambda self, request: fitted.append(self) or fit(self, request))
    draw = Resample(0, TrainingSet((1, 2), (5, 6), (11,)), (), TESTED)
    scored = score_resample(panel, draw, ("uap", "uap_controls", "uap_ensemble"), ENCODER, "seed")
    assert len(fitted) == 2 * len(METHODS["uap"].single(panel))
    alone = score_resample(panel, draw, ("uap_ensemble",), ENCODER, "seed")
    pairs = zip(scored.methods["uap_ensemble"], alone.methods["uap_ensemble"], strict=True)
    assert all(torch.equal(a.scores, b.scores) for a, b in pairs)


@pytest.mark.parametrize("n_models", [1, 3])
def test_fingerprints_gathered_a_few_models_at_a_time(
    n_models: int, panel: ResponseMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the portions is about memory, not about scores."""
    whole = scores_of(panel, "uap")
    monkeypatch.setattr(
        "uapfp_dist.fingerprints.methods.encoder_method.CHUNK", n_models * N_TEST * 2 * N_POINTS * N_CLASSES
    )
    for candidate, scores in scores_of(panel, "uap").items():
        torch.testing.assert_close(scores, whole[candidate], rtol=0, atol=1e-6)


def test_an_encoder_scores_its_own_panel_as_its_method_does(panel: ResponseMatrix) -> None:
    """Transfer to where it came from is no transfer; other suspects elsewhere change nothing but their own scores."""
    for candidate, scores in scores_of(panel, "uap_paper").items():
        alone = transfer_scores(panel, TRAINING, panel, candidate, ENCODER, "seed")
        torch.testing.assert_close(alone, scores[0], rtol=0, atol=1e-6)  # a stack of another size sums in another order
    elsewhere = with_answers(panel, 1, made_up_answers("homologous", 99))
    moved = transfer_scores(panel, TRAINING, elsewhere, candidate, ENCODER, "seed")
    rest = [row for row in range(len(ROLES)) if row != 1]
    torch.testing.assert_close(moved[rest], scores[0, rest], rtol=0, atol=1e-6)
    assert float(moved[1].mean()) < float(scores[0, 1].mean())


def test_transfer_between_fingerprints_of_unequal_length_is_refused(panel: ResponseMatrix) -> None:
    """In one line with both lengths."""
    candidate = METHODS["uap_paper"].candidates(panel)[0]
    with pytest.raises(UserError, match=r"expected fingerprints of the 80 numbers .* got 64"):
        transfer_scores(panel, TRAINING, of_points(panel, 8), candidate, ENCODER, "seed")


def of_points(panel: ResponseMatrix, n: int) -> ResponseMatrix:
    """Fingerprints of the first clusters only."""
    gather = {name: index[:, :n] for name, index in panel.gather.items()}
    return replace(panel, views=panel.views[:, :n], gather=gather)


def test_images_of_smaller_fingerprints_are_counted_as_they_are(panel: ResponseMatrix) -> None:
    """With fewer points what the views need is no longer the first images of a block without a gap."""
    fewer = of_points(panel, 4)
    for block in ("clean", "uap@0.5"):
        assert fewer.n_query_images(block) == len(panel.query_index(block)[:, :4].unique())


def test_weighted_labels_look_only_at_the_points_of_the_fingerprint(panel: ResponseMatrix) -> None:
    """Answers of a block that smaller fingerprints leave out count for nothing."""
    fewer = of_points(panel, 4)
    for candidate, scores in scores_of(fewer, "uap_weighted").items():
        unused = torch.ones(len(panel.answers[3].blocks[candidate.block]), 1, dtype=torch.bool)
        unused[fewer.query_index(candidate.block).unique()] = False
        p = panel.answers[3].blocks[candidate.block]
        lies = with_answers(fewer, 3, changed(panel.answers[3], candidate.block, torch.where(unused, lie(p), p)))
        assert torch.equal(scores_of(lies, "uap_weighted")[candidate], scores)


@pytest.fixture(scope="module")
def scored(panel: ResponseMatrix) -> ScoredResample:
    """One draw by all methods."""
    return score_resample(panel, Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7})), tuple(METHODS), ENCODER, "seed")


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("budget", [1, 7, 10, 20, 25, 30, 1000])
def test_a_budget_buys_what_fits(method: str, budget: int, panel: ResponseMatrix, scored: ScoredResample) -> None:
    """Views: the longest run of first views whose unique images are not more than the budget. Images: so many."""
    way = METHODS[method]
    for one in scored.methods[method]:
        found = scores_within_budget(panel, scored.draw, method, one, budget)
        blocks = way.sent(one.candidate)
        if set(blocks) <= {"natural", "ipguard"}:
            assert found is not None
            assert found[1] == min(budget, {"natural": 20, "ipguard": N_POINTS}[blocks[0]])
            continue
        costs = [replace(panel, n_test_views=n).n_query_images(*blocks) for n in range(1, N_TEST + 1)]
        affordable = [cost for cost in costs if cost <= budget]
        assert (found is None) == (not affordable)
        if found is not None:
            assert found[1] == affordable[-1]
            if way.by_view:
                torch.testing.assert_close(found[0], one.scores[:, : len(affordable)].mean(1))


def test_a_budget_of_exactly_two_views_buys_two(panel: ResponseMatrix, scored: ScoredResample) -> None:
    """One image less buys one view."""
    one = scored.methods["uap"][0]
    cost = replace(panel, n_test_views=2).n_query_images(*METHODS["uap"].sent(one.candidate))
    for budget, n_views in ((cost, 2), (cost - 1, 1)):
        found = scores_within_budget(panel, scored.draw, "uap", one, budget)
        assert found is not None
        torch.testing.assert_close(found[0], one.scores[:, :n_views].mean(1))
    assert found[1] < cost


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_budget_for_everything_changes_nothing(method: str, panel: ResponseMatrix, scored: ScoredResample) -> None:
    """Where suspects are sent all there is, unlimited and limited scores are the same."""
    everything = replace(panel, n_natural=20)
    for one in score_resample(everything, scored.draw, (method,), ENCODER, "seed").methods[method]:
        found = scores_within_budget(everything, scored.draw, method, one, 1000)
        assert found is not None
        assert found[1] == one.queries
        torch.testing.assert_close(found[0], one.scores.mean(1))


def test_a_budget_takes_the_best_images(panel: ResponseMatrix, scored: ScoredResample) -> None:
    """Weighted errors by the weights of this draw's training models, boundary points and AKH in their order."""
    agree = torch.stack([a.blocks["natural"].argmax(1) for a in panel.answers])
    agree = agree == agree[0]
    (errors,) = scored.methods["weighted_errors"]
    found = scores_within_budget(panel, scored.draw, "weighted_errors", errors, 5)
    assert found is not None
    assert torch.equal(found[0], weighted_scores(agree, list(TRAINING.piracy), list(TRAINING.homologous), 5))
    for method, block in (("natural_errors", "natural"), ("ipguard", "ipguard")):
        hard = next(s for s in scored.methods[method] if s.candidate.format == LABEL)
        found = scores_within_budget(panel, scored.draw, method, hard, 5)
        labels = torch.stack([a.blocks[block][:5].argmax(1) for a in panel.answers])
        assert found is not None
        torch.testing.assert_close(found[0], (labels == labels[0]).float().mean(1))


def test_no_budget_at_all_is_refused(panel: ResponseMatrix, scored: ScoredResample) -> None:
    """In one line."""
    with pytest.raises(UserError, match="query budget: expected at least 1 image, got 0"):
        scores_within_budget(panel, scored.draw, "sac", scored.methods["sac"][0], 0)


def test_labels_have_no_confidence_to_choose(panel: ResponseMatrix) -> None:
    """A method without a candidate in the formats offered is scored as nothing, not as an error."""
    hard = replace(panel, formats=(LABEL,))
    draw = Resample(0, TRAINING, (7,), tuple(set(TESTED) - {7}))
    found = score_resample(hard, draw, ("confidence", "sac"), ENCODER, "seed")
    assert found.chosen("confidence") is None
    assert found.chosen("sac") is not None


@pytest.mark.parametrize("n_images", [1, 5, 40, 100])
def test_weighted_errors_are_log_odds(n_images: int) -> None:
    """Against a double loop: the n images with the largest a (1 - b), log(a/b) or log((1-a)/(1-b)) for each."""
    agree = torch.rand(9, 40, generator=torch_rng("agree")) < 0.5
    piracy, innocent = [1, 2, 3], [4, 5, 6, 7]
    weights = []
    for image in range(40):
        a = (sum(bool(agree[row, image]) for row in piracy) + 0.5) / (len(piracy) + 1)
        b = (sum(bool(agree[row, image]) for row in innocent) + 0.5) / (len(innocent) + 1)
        weights.append((a, b))
    best = sorted(range(40), key=lambda i: -weights[i][0] * (1 - weights[i][1]))[:n_images]
    scores = weighted_scores(agree, piracy, innocent, n_images)
    for row in range(9):
        expected = 0.0
        for image in best:
            a, b = weights[image]
            expected += math.log(a / b) if agree[row, image] else math.log((1 - a) / (1 - b))
        assert float(scores[row]) == pytest.approx(expected, abs=1e-5)


@dataclass(frozen=True)
class Memoriser(EncoderMethod):
    """Knows everybody that a fold learnt from, and nobody else: pirates score 1, innocents -1, strangers 0."""

    def score(self, request: Request) -> Tensor:
        """(S, M, 1)."""
        scores = torch.zeros(len(request.folds), len(request.panel.members), 1)
        for fold, mine in zip(request.folds, scores, strict=True):
            mine[list(fold.piracy)] = 1.0
            mine[list(fold.innocent(True))] = -1.0
        return scores


def test_formats_are_chosen_by_models_that_no_scorer_has_seen(
    panel: ResponseMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the other victim, too: who knows them by heart is no better than chance."""
    monkeypatch.setitem(METHODS, "clean", Memoriser("by heart", "clean", True))
    draw = Resample(0, replace(TRAINING, other_victim=(11, 12, 13)), (7,), (3, 4, 8))
    scored = score_resample(panel, draw, ("clean",), ENCODER, "seed")
    assert {(one.training_auc, one.training_gap) for one in scored.methods["clean"]} == {(0.5, 0.0)}
