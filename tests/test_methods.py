"""One contract for every fingerprint method, on answers made up so that lineage is known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.science.encoder import EncoderConfig
from uapfp_dist.science.fingerprint.draws import TrainingSet
from uapfp_dist.science.fingerprint.methods import METHODS, Candidate, weighted_error_scores
from uapfp_dist.science.fingerprint.panel import Panel
from uapfp_dist.science.fingerprint.probe import block_name, in_turn, per_point
from uapfp_dist.science.rng import torch_rng
from uapfp_dist.types import Answers, Block, Member

N_POINTS, N_VIEWS, N_TEST, N_NATURAL, N_CLASSES = 10, 5, 3, 12, 4
ENCODER = EncoderConfig(hidden=32, embedding=32, learning_rate=5e-3, epochs=10)
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
VIEWS = torch.stack([torch.randperm(12, generator=torch_rng("views", i))[:N_VIEWS] for i in range(N_POINTS)], 1)


def blocks_of_the_probe() -> dict[str, Block]:
    """Two universal perturbations in turn (the paper's is one), a local one for each of twelve points."""
    image = torch.zeros(1, 1, 1, 1)
    blocks = {"uap_paper": in_turn(image, VIEWS)}
    for fraction in FRACTIONS:
        blocks[block_name("uap", fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[block_name("random", fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[block_name("lap", fraction)] = per_point(image.expand(12, 1, 1, 1), VIEWS)
    return blocks


BLOCKS = blocks_of_the_probe()


def made_up_answers(role: str, row: int) -> Answers:
    """Probabilities: pirates share most of the victim's logits, everybody shares the data's."""
    sizes = {"clean": 12, "natural": 20} | {name: len(block.point) for name, block in BLOCKS.items()}
    lineage = {"victim": 1.0, "piracy": 0.8, "soft_piracy": 0.8}.get(role, 0.0)
    blocks = {}
    for name, size in sizes.items():
        data, victims, own = (
            torch.randn(size, N_CLASSES, generator=torch_rng(name, part)) for part in ("data", "victim", row)
        )
        blocks[name] = (data + 2 * lineage * victims + 2 * (1 - lineage) * own).softmax(1)
    return Answers(blocks)


@pytest.fixture(scope="module")
def panel(digits_plan: Plan) -> Panel:
    """Fourteen models; the specs are the plan's, the answers made up."""
    by_role: dict[str, list[Member]] = {}
    for member in digits_plan.judged:
        by_role.setdefault(member.role, []).append(member)
    members = tuple(by_role[role].pop(0) for role in ROLES)
    answers = tuple(made_up_answers(member.role, row) for row, member in enumerate(members))
    labels = answers[0].blocks["natural"].argmax(1)
    gather = {name: block.gather for name, block in BLOCKS.items()}
    return Panel(members, answers, VIEWS, gather, N_TEST, labels, N_NATURAL, FRACTIONS)


def scores_of(panel: Panel, method: str) -> dict[Candidate, Tensor]:
    """Candidate to (S, M, V) scores under `FOLDS`."""
    way = METHODS[method]
    return {c: way.score(panel, c, FOLDS, ENCODER, "seed") for c in way.candidates(panel)}


def with_answers(panel: Panel, row: int, answers: Answers) -> Panel:
    """The panel with other answers in one row."""
    return replace(panel, answers=(*panel.answers[:row], answers, *panel.answers[row + 1 :]))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_have_their_shape_and_are_numbers(method: str, panel: Panel) -> None:
    """One per training set, model and view (methods without views have one)."""
    found = scores_of(panel, method)
    assert found
    for scores in found.values():
        assert scores.shape[:2] == (len(FOLDS), len(ROLES))
        assert scores.shape[2] in (1, N_TEST)
        assert bool(scores.isfinite().all())
    assert METHODS[method].about


@pytest.mark.parametrize("method", sorted(METHODS))
def test_scores_can_be_repeated(method: str, panel: Panel) -> None:
    """Bit by bit."""
    first, again = scores_of(panel, method), scores_of(panel, method)
    assert all(torch.equal(first[candidate], again[candidate]) for candidate in first)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_score_of_a_suspect_is_its_own(method: str, panel: Panel) -> None:
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
def test_labels_know_no_confidence(method: str, panel: Panel) -> None:
    """Sharpening every probability changes no label: hard formats stay as they are, soft ones do not."""
    sharp = tuple(
        Answers({name: p**4 / (p**4).sum(1, keepdim=True) for name, p in answers.blocks.items()})
        for answers in panel.answers
    )
    after = scores_of(replace(panel, answers=sharp), method)
    for candidate, scores in scores_of(panel, method).items():
        assert torch.equal(after[candidate], scores) == (candidate.format == "hard"), candidate


def asked_rows(panel: Panel, name: str) -> Tensor:
    """Answers of a block that a suspect's test views use; of natural errors, the number asked is what is known."""
    return torch.arange(N_NATURAL) if name == "natural" else panel.asked(name).unique()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_queries_are_the_images_that_the_score_looks_at(method: str, panel: Panel) -> None:
    """Every unique image of every block whose answers matter, and no other: the rest can change unnoticed."""
    way = METHODS[method]
    untouched = scores_of(panel, method)
    looked_at: dict[Candidate, int] = dict.fromkeys(untouched, 0)
    for name in panel.answers[0].blocks:
        asked = torch.zeros(len(panel.answers[0].blocks[name]), 1, dtype=torch.bool)
        asked[asked_rows(panel, name)] = True
        lies = {True: panel, False: panel}
        for row in TESTED:
            p = panel.answers[row].blocks[name]
            for where, changed in ((True, asked), (False, ~asked)):
                lie = (p.flip(1) ** 3) / (p**3).sum(1, keepdim=True)
                new = Answers({**panel.answers[row].blocks, name: torch.where(changed, lie, p)})
                lies[where] = with_answers(lies[where], row, new)
        for candidate, scores in scores_of(lies[True], method).items():
            looked_at[candidate] += int(asked.sum()) * (not torch.equal(scores, untouched[candidate]))
        if name != "natural":
            for candidate, scores in scores_of(lies[False], method).items():
                torch.testing.assert_close(scores, untouched[candidate], rtol=0, atol=1e-6)
    assert {candidate: way.queries(panel, candidate) for candidate in untouched} == looked_at
    assert min(looked_at.values()) > 0


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"confidence"}))
def test_lineage_shows(method: str, panel: Panel) -> None:
    """Where answers carry it, tested pirates score higher than tested homologous models on average."""
    for candidate, scores in scores_of(panel, method).items():
        means = scores[0].mean(1)
        assert float(means[[3, 4]].mean()) > float(means[[7, 8]].mean()), candidate


@pytest.mark.parametrize("method", ["uap_paper", "uap", "uap_controls", "clean", "random", "lap", "agreement"])
def test_nobody_is_more_like_the_victim_than_itself(method: str, panel: Panel) -> None:
    """Its own similarity is 1 in every view."""
    for scores in scores_of(panel, method).values():
        torch.testing.assert_close(scores[:, 0], torch.ones(len(FOLDS), N_TEST))
        assert float(scores.max()) <= 1 + 1e-6
        assert float(scores.min()) >= 0.0


def test_confidence_never_looks_at_the_victim(panel: Panel) -> None:
    """It is the reference that shows what a recipe alone gives away."""
    other = with_answers(panel, 0, made_up_answers("homologous", 99))
    before, after = scores_of(panel, "confidence"), scores_of(other, "confidence")
    for candidate, scores in before.items():
        assert torch.equal(after[candidate][:, 1:], scores[:, 1:])


def test_agreement_counts_equal_labels(panel: Panel) -> None:
    """Against a loop over models, views and points."""
    for candidate, scores in scores_of(panel, "agreement").items():
        labels = [answers.blocks[candidate.block].argmax(1).tolist() for answers in panel.answers]
        for row in range(len(ROLES)):
            for v, view in enumerate(panel.asked(candidate.block).tolist()):
                share = sum(labels[row][i] == labels[0][i] for i in view) / N_POINTS
                assert float(scores[0, row, v]) == pytest.approx(share)


def test_controls_learn_from_pirates_of_another_victim(panel: Panel) -> None:
    """The rows differ in nothing else."""
    without = replace(TRAINING, other_victim=())
    for method in ("uap", "weighted_errors"):
        for candidate in METHODS[method].candidates(panel):
            plain, controls, bare = (
                METHODS[name].score(panel, candidate, [fold], ENCODER, "seed")
                for name, fold in ((method, TRAINING), (f"{method}_controls", TRAINING), (method, without))
            )
            assert torch.equal(plain, bare)
            assert not torch.equal(plain, controls)
            same = METHODS[f"{method}_controls"].score(panel, candidate, [without], ENCODER, "seed")
            assert torch.equal(same, plain)


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
    scores = weighted_error_scores(agree, piracy, innocent, n_images)
    for row in range(9):
        expected = 0.0
        for image in best:
            a, b = weights[image]
            expected += math.log(a / b) if agree[row, image] else math.log((1 - a) / (1 - b))
        assert float(scores[row]) == pytest.approx(expected, abs=1e-5)
