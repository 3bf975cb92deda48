"""Stealing: every attack keeps its contract, every query is paid for."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from uapfp_dist.attacks import EXTRACTIONS, DivergedError, TrajectoryPoint, extract, extract_trajectory
from uapfp_dist.attacks.cloudleak import _approach, _of_another_class
from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, ask
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat, top_k
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
TOP3 = ResponseFormat(3)
CRAFTING = sorted(name for name, craft in EXTRACTIONS.items() if craft is not None)


class Recorder(Blackbox):
    """A victim that remembers what it was sent."""

    def __call__(self, images: Tensor) -> Tensor:
        """Answer, and keep the images."""
        answers = super().__call__(images)
        self.sent: list[Tensor] = [*getattr(self, "sent", []), images.clone()]
        return answers


@dataclass(frozen=True)
class Loot:
    """What came of one extraction."""

    net: Net
    ledger: Recorder
    steps: int

    @property
    def queries(self) -> Tensor:
        """All images sent, in order."""
        return torch.cat(self.ledger.sent)


def steal(
    victim: Net,
    pool: Tensor,
    attack: str,
    labels: ResponseFormat = LABEL,
    *,
    budget: int = 90,
    rounds: int = 3,
    natural_share: float = 0.5,
    samples_seen: int = 1280,
    width: int = 2,
    seed: int = 0,
) -> Loot:
    """Extract `victim` with a small substitute of architecture C."""
    net = build("C", (1, 8, 8), 10, width, seed, CPU)
    trainer = Trainer(net, Recipe("adam", 64, samples_seen), torch_rng("steal", seed))
    ledger = Recorder(victim, budget, labels)
    extract(ledger, pool, trainer, EXTRACTIONS[attack], rounds, natural_share)
    return Loot(net, ledger, trainer.step)


@pytest.fixture(scope="module")
def pool(digits: Dataset, digits_splits: Splits) -> Tensor:
    """The attacker's natural images."""
    return digits.pixels(outside_of(digits_splits.d, digits_splits.d_v))


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_contract_of_every_attack(attack: str, labels: ResponseFormat, victim: Net, pool: Tensor) -> None:
    """The whole budget and no image more, in [0, 1], natural images first, all steps of the recipe, same by seed."""
    loot = steal(victim, pool, attack, labels)
    crafts = attack in CRAFTING
    assert loot.ledger.queries == len(loot.queries) == 90
    assert [len(batch) for batch in loot.ledger.sent] == ([45, 15, 15, 15] if crafts else [90])
    assert float(loot.queries.min()) >= 0.0
    assert float(loot.queries.max()) <= 1.0
    assert bool(loot.queries.isfinite().all())
    natural = [bool((pool == image).flatten(1).all(1).any()) for image in loot.queries]
    assert all(natural[:45])
    assert not any(natural[45:]) if crafts else all(natural)
    assert loot.steps == 1280 // 64
    again = steal(victim, pool, attack, labels)
    assert torch.equal(loot.queries, again.queries)
    for name, weights in loot.net.state_dict().items():
        assert torch.equal(weights, again.net.state_dict()[name]), name
    assert not torch.equal(loot.queries, steal(victim, pool, attack, labels, seed=1).queries)


@pytest.mark.parametrize("budget", [1, 2, 7, 50, 101])
@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_ledger_is_spent_and_never_exceeded(
    attack: str, labels: ResponseFormat, budget: int, victim: Net, pool: Tensor
) -> None:
    """With a budget below the number of rounds, one that rounds do not divide, and one above a pool of twelve."""
    for rounds, natural_share in ((1, 1.0), (4, 1.0), (4, 0.3), (3, 0.0)):
        loot = steal(
            victim,
            pool[:12],
            attack,
            labels,
            budget=budget,
            rounds=rounds,
            natural_share=natural_share,
            samples_seen=128,
        )
        spent = budget if attack in CRAFTING else min(budget, 12)
        assert loot.ledger.queries == len(loot.queries) == spent
        first = natural_share if attack in CRAFTING else 1.0
        assert len(loot.ledger.sent[0]) == min(12, max(1, int(budget * first)))
        assert all(bool(weights.isfinite().all()) for weights in loot.net.parameters())


def test_knockoff_asks_what_the_pool_holds_and_the_ledger_says_so(victim: Net, pool: Tensor) -> None:
    """A budget beyond the pool is left over; every natural image was asked once."""
    loot = steal(victim, pool[:12], "knockoff", budget=50, natural_share=0.1)
    assert (loot.ledger.queries, loot.ledger.budget) == (12, 50)
    assert torch.equal(loot.queries.flatten(1).unique(dim=0), pool[:12].flatten(1).unique(dim=0))


class Reader(Trainer):
    """A trainer that shows what it was given to learn."""

    def run(
        self, images: Tensor, targets: Tensor, until: float = 1.0, after_step: Callable[[int], None] | None = None
    ) -> None:
        """Train, and keep what it was trained on."""
        super().run(images, targets, until, after_step)
        self.lesson = images, targets


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_top_k_answers_are_learnt_as_a_distribution(attack: str, victim: Net, pool: Tensor) -> None:
    """The k largest of the victim's probabilities, in their proportions, sum to 1; the rest is 0."""
    trainer = Reader(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("reader"))
    extract(Blackbox(victim, 60, TOP3), pool, trainer, EXTRACTIONS[attack], 2, 0.5)
    images, targets = trainer.lesson
    torch.testing.assert_close(targets.sum(1), torch.ones(60))
    largest = top_k(ask(victim, images), 3)
    assert torch.equal(targets > 0, largest > 0)
    torch.testing.assert_close(targets * largest.sum(1, keepdim=True), largest)


def test_more_values_than_classes_is_soft(victim: Net, pool: Tensor) -> None:
    """The same weights, bit for bit; three values are something else."""
    soft, top99, top3 = (
        steal(victim, pool, "jacobian", labels).net.state_dict() for labels in (PROBABILITIES, ResponseFormat(99), TOP3)
    )
    assert all(torch.equal(soft[name], top99[name]) for name in soft)
    assert not all(torch.equal(soft[name], top3[name]) for name in soft)


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_no_natural_image_is_paid_for_twice(attack: str, victim: Net, pool: Tensor) -> None:
    """The first batch is drawn without replacement."""
    natural = steal(victim, pool, attack, natural_share=1.0).ledger.sent[0]
    assert len(natural.flatten(1).unique(dim=0)) == len(natural) == 90


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_a_thief_learns_the_victims_answers(attack: str, victim: Net, pool: Tensor, held_out: Tensor) -> None:
    """With a fair budget it agrees with the victim on images that neither has seen."""
    loot = steal(victim, pool, attack, budget=700, natural_share=0.6, samples_seen=15_000, width=8)
    agreement = (ask(loot.net, held_out).argmax(1) == ask(victim, held_out).argmax(1)).double().mean()
    assert float(agreement) > 0.7


@pytest.mark.parametrize("attack", ["cloudleak", "cloudleak_features"])
def test_cloudleak_sends_what_the_substitute_is_least_sure_of(attack: str, victim: Net, pool: Tensor) -> None:
    """Least confident first, and less sure of them than of natural images."""
    craft = EXTRACTIONS[attack]
    assert craft is not None
    queries = craft(victim, pool, pool, 40, torch_rng("cloudleak"))
    confidence = ask(victim, queries).max(1).values
    assert bool((confidence.diff() >= -1e-6).all())
    assert float(confidence.mean()) < float(ask(victim, pool).max(1).values.mean()) - 0.2


def test_jacobian_takes_one_signed_step(victim: Net, pool: Tensor) -> None:
    """Every pixel moves by the step, unless the edge of [0, 1] or a zero gradient stops it."""
    craft = EXTRACTIONS["jacobian"]
    assert craft is not None
    queries = craft(victim, pool, pool[:1], 2, torch_rng("jacobian"))
    step = (queries - pool[:1]).abs()
    at_edge = (queries == 0.0) | (queries == 1.0)
    assert float(step.max()) <= 0.1 + 1e-6
    assert float((step[~at_edge] - 0.1).abs().max()) < 1e-6


@pytest.fixture(scope="module")
def guided(victim: Net, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Sixty natural images, and for each one of another predicted class."""
    labels = ask(victim, pool[:200]).argmax(1)
    return pool[:60], pool[_of_another_class(labels[:60], labels, torch_rng("guides"))]


def test_features_approach_those_of_the_guide(victim: Net, guided: tuple[Tensor, Tensor]) -> None:
    """Every image, by a good part of the way, without leaving [0, 1] or moving further than its steps add up to."""
    images, guides = guided
    moved = _approach(victim, images, guides)
    with torch.no_grad():
        goal = victim.features(guides)
        before = (victim.features(images) - goal).norm(dim=1)
        after = (victim.features(moved) - goal).norm(dim=1)
    assert bool((after < before).all())
    assert float((after / before).mean()) < 0.85
    assert float(moved.min()) >= 0.0
    assert float(moved.max()) <= 1.0
    distance = (moved - images).flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)
    assert float(distance.max()) <= 5 * 0.05 + 1e-6


def test_a_penalty_on_the_pixel_distance_keeps_images_near(victim: Net, guided: tuple[Tensor, Tensor]) -> None:
    """The dearer, the nearer."""
    images, guides = guided
    penalties = (0.0, 4.0, 40.0)
    distances = [float((_approach(victim, *guided, p) - images).flatten(1).norm(dim=1).mean()) for p in penalties]
    assert all(low > high for low, high in pairwise(distances))
    assert distances[2] < 0.6 * distances[0]
    assert len(guides) == len(images)


def test_a_batch_of_feature_examples_equals_one_by_one(victim: Net, guided: tuple[Tensor, Tensor]) -> None:
    """No image knows of the others in its batch."""
    images, guides = guided
    singles = [_approach(victim, image[None], guide[None]) for image, guide in zip(images[:8], guides[:8], strict=True)]
    torch.testing.assert_close(torch.cat(singles), _approach(victim, images, guides)[:8], atol=1e-4, rtol=0)


def test_guides_are_of_another_class() -> None:
    """Any of them; where there is no other class, any image."""
    labels = torch.arange(3).repeat(400)
    guides = torch.tensor([0, 0, 1, 2, 2, 2])
    chosen = _of_another_class(labels, guides, torch_rng("other"))
    assert bool((guides[chosen] != labels).all())
    for label in range(3):
        counts = chosen[labels == label].bincount(minlength=6)[guides != label]
        # Binomial, 400 draws of 3 to 5 guides: standard deviation below 10.
        assert float((counts - 400 / len(counts)).abs().max()) < 45
    alone = _of_another_class(torch.zeros(50, dtype=torch.long), torch.zeros(4, dtype=torch.long), torch_rng("one"))
    assert alone.unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("attack", CRAFTING)
def test_black_and_equal_images_are_no_trouble(attack: str, victim: Net) -> None:
    """No norm to divide by, no feature distance, no other class: still numbers in [0, 1]."""
    craft = EXTRACTIONS[attack]
    assert craft is not None
    for images in (torch.zeros(3, 1, 8, 8), torch.full((1, 1, 8, 8), 0.5)):
        queries = craft(victim, images, images, 5, torch_rng("dull"))
        assert queries.shape == (5, 1, 8, 8)
        assert bool(((queries >= 0) & (queries <= 1)).all())


def test_bad_input_is_told_of_in_one_line(victim: Net, pool: Tensor) -> None:
    """Nothing is asked before it is."""
    with pytest.raises(UserError, match=r"^pool: expected at least one natural image.*$"):
        steal(victim, pool[:0], "knockoff")
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"^natural_share: .*between 0 and 1, got .*$"):
            steal(victim, pool, "cloudleak", natural_share=share)


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_a_substitute_that_diverges_is_told_of(attack: str, victim: Net, pool: Tensor) -> None:
    """And sends no images made of NaN."""
    net = build("C", (1, 8, 8), 10, 2, 0, CPU)
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = float("nan")
    ledger = Recorder(victim, 40, LABEL)
    trainer = Trainer(net, Recipe("adam", 64, 640), torch_rng("nan"))
    with pytest.raises(DivergedError, match=r"^substitute: its weights are not finite after step \d+ of 10; .*$"):
        extract(ledger, pool, trainer, EXTRACTIONS[attack], 2, 0.5)
    assert len(ledger.sent) == 1


LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 5.0)


@dataclass(frozen=True)
class Watched:
    """One extraction of architecture E, which has dropout."""

    net: Net
    curve: list[float]
    """Recovery after every step, as found."""
    queries: list[int]
    """Spent by then."""
    reached: list[TrajectoryPoint]
    looks: int


@pytest.fixture(scope="module")
def watched(victim: Net, pool: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Callable[[int | None], Watched]:
    """Extract under `extract_trajectory` with that many steps between looks, or (None) step by step by hand."""

    def recovery_of(net: Net) -> float:
        return float((ask(net, held_out).argmax(1) == held_out_labels).double().mean()) / 0.9

    def run(every: int | None) -> Watched:
        net = build("E", (1, 8, 8), 10, 8, 0, CPU)
        trainer = Trainer(net, Recipe("adam", 64, 64 * 93), torch_rng("watched"))
        ledger = Blackbox(victim, 300, LABEL)
        curve: list[float] = []
        queries: list[int] = []
        reached: list[TrajectoryPoint] = []

        def by_hand(step: int) -> None:
            assert step == len(curve) + 1
            curve.append(recovery_of(net))
            queries.append(ledger.queries)
            net.train()

        def rude(twin: Net) -> float:
            assert not twin.training
            curve.append(recovery_of(twin))
            twin.train()
            with torch.no_grad():
                next(twin.parameters()).add_(1.0)
            return curve[-1]

        with seeded(0, CPU):
            if every is None:
                extract(ledger, pool, trainer, EXTRACTIONS["cloudleak"], 3, 0.5, by_hand)
            else:
                crafts = EXTRACTIONS["cloudleak"]
                reached = extract_trajectory(ledger, pool, trainer, crafts, 3, 0.5, LEVELS, rude, every)
        return Watched(net, curve, queries, reached, len(curve))

    return run


def first_moments(curve: list[float], every: int) -> dict[float, int]:
    """Level to the step at which it is first reached, looking back whenever a look finds it reached."""
    found: dict[float, int] = {}
    start = 0
    for end in [*range(every, len(curve), every), len(curve)]:
        waiting = [level for level in LEVELS if level not in found]
        if curve[end - 1] >= waiting[0]:
            for level in waiting:
                steps = [step for step in range(start + 1, end + 1) if curve[step - 1] >= level]
                if steps:
                    found[level] = steps[0]
        start = end
    return found


@pytest.mark.parametrize("every", [1, 10, 40])
def test_checkpoints_are_the_first_moments(every: int, watched: Callable[[int | None], Watched]) -> None:
    """Against a curve taken step by step: moment, recovery, queries, and training undisturbed by rude looks."""
    by_hand, seen = watched(None), watched(every)
    assert len(by_hand.curve) == 93
    for name, weights in by_hand.net.state_dict().items():
        assert torch.equal(weights, seen.net.state_dict()[name]), name
    expected = first_moments(by_hand.curve, every)
    assert {r.level: r.step for r in seen.reached} == expected
    assert 5 <= len(expected) < len(LEVELS)  # nobody reaches five times the victim's accuracy
    for r in seen.reached:
        assert r.recovery == by_hand.curve[r.step - 1] >= r.level
        assert r.queries == by_hand.queries[r.step - 1]
    assert [r.level for r in seen.reached] == sorted(expected)
    assert seen.looks <= -(-93 // every) + (every - 1) * len(LEVELS)


def test_checkpoints_hold_the_weights_of_their_moment(
    watched: Callable[[int | None], Watched], held_out: Tensor, held_out_labels: Tensor
) -> None:
    """Loaded into a new net they have the recovery that was recorded, and they differ from moment to moment."""
    reached = watched(10).reached
    for r in reached:
        net = build("E", (1, 8, 8), 10, 8, 9, CPU)
        net.load_state_dict(r.weights)
        assert float((ask(net, held_out).argmax(1) == held_out_labels).double().mean()) / 0.9 == r.recovery
    for low, high in pairwise(reached):
        same = all(torch.equal(low.weights[name], high.weights[name]) for name in low.weights)
        assert same == (low.step == high.step)
    assert len({r.step for r in reached}) >= 4


def trajectory_of(
    victim: Net, pool: Tensor, levels: tuple[float, ...], recovery_of: Callable[[Net], float], every: int = 4
) -> list[TrajectoryPoint]:
    """Ten steps of knockoff."""
    trainer = Trainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("short"))
    box = Blackbox(victim, 20, LABEL)
    return extract_trajectory(box, pool, trainer, None, 0, 1.0, levels, recovery_of, every)


def test_levels_that_one_step_leaps_over_say_so(victim: Net, pool: Tensor) -> None:
    """The same moment, the recovery that was measured; the level above it stays away."""
    reached = trajectory_of(victim, pool, (0.5, 0.6, 0.7, 0.9), lambda net: 0.8)
    assert [(r.level, r.recovery, r.step, r.queries) for r in reached] == [(x, 0.8, 1, 20) for x in (0.5, 0.6, 0.7)]


def test_the_last_step_is_looked_at(victim: Net, pool: Tensor) -> None:
    """Also when `every` does not divide the steps."""
    looks = iter([0.1, 0.1, 0.9, 0.1])  # steps 4, 8 and 10, then back to 9
    assert [r.step for r in trajectory_of(victim, pool, (0.5,), lambda net: next(looks))] == [10]


def test_a_trajectory_that_cannot_be_watched_is_refused(victim: Net, pool: Tensor) -> None:
    """Levels out of order, none, no steps between looks, a recovery that is no number."""
    for levels in ((), (0.8, 0.8), (0.9, 0.8), (float("nan"),), (0.5, float("nan"))):
        with pytest.raises(UserError, match=r"^recoveries: expected ascending.*$"):
            trajectory_of(victim, pool, levels, lambda net: 0.5)
    with pytest.raises(UserError, match=r"^every: expected at least 1.*got 0$"):
        trajectory_of(victim, pool, (0.5,), lambda net: 0.5, every=0)
    with pytest.raises(UserError, match=r"^recovery_of: expected a recovery rate, got nan after step 4$"):
        trajectory_of(victim, pool, (0.5,), lambda net: float("nan"))
