"""Extraction: every attack keeps its contract, every query is counted."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, DivergedError, TrueLabels, attack_by, extract
from uapfp_dist.attacks.cloudleak import CloudLeakFeatures, of_another_class
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat, top_k
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")


TOP3 = ResponseFormat(3)


CRAFTING = sorted(name for name, attack in ATTACKS.items() if attack.crafts_queries)


class Recorder(Blackbox):
    """A victim that records its queries."""

    def __call__(self, images: Tensor) -> Tensor:
        """Respond, and keep the images."""
        responses = super().__call__(images)
        self.batches: list[Tensor] = [*getattr(self, "batches", []), images.clone()]
        return responses


@dataclass(frozen=True)
class Extraction:
    """The result of one extraction."""

    net: Net
    box: Recorder
    steps: int

    @property
    def queries(self) -> Tensor:
        """All images sent, in order."""
        return torch.cat(self.box.batches)


def extracted(
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
) -> Extraction:
    """Extract `victim` with a small substitute of architecture C."""
    net = build("C", (1, 8, 8), 10, width, seed, CPU)
    trainer = Trainer(net, Recipe("adam", 64, samples_seen), torch_rng("steal", seed))
    box = Recorder(victim, budget, labels)
    extract(box, pool, trainer, ATTACKS[attack], rounds=rounds, natural_share=natural_share)
    return Extraction(net, box, trainer.step)


def test_the_registry_names_every_attack() -> None:
    """By its own name; its parameters have defaults, are given by keyword and cannot be changed afterwards."""
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert type(attack)() == attack
        for parameter in fields(attack):
            with pytest.raises(FrozenInstanceError):
                setattr(attack, parameter.name, 0)
            with pytest.raises(TypeError):
                type(attack)(getattr(attack, parameter.name))  # type: ignore[call-arg]
        assert attack.natural_share(0.3) == (0.3 if attack.crafts_queries else 1.0)


def labels_of(net: Net, images: Tensor) -> Tensor:
    """What a net says."""
    return predict_probabilities(net, images).argmax(1)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_contract_of_craft(attack: str, victim: Net, pool: Tensor) -> None:
    """So many finite images in [0, 1], by rng alone; substitute and images stay as they are."""
    before, given = {name: x.clone() for name, x in victim.state_dict().items()}, (pool[:70].clone(), pool[:9].clone())
    labels = labels_of(victim, pool[:9])
    for n in (1, 40, 150):
        first, again, other = (
            ATTACKS[attack].craft(victim, pool[:70], pool[:9], labels, n, torch_rng(seed)) for seed in ("a", "a", "b")
        )
        assert first.shape == (n if attack in CRAFTING else 0, 1, 8, 8)
        assert bool(((first >= 0) & (first <= 1)).all())
        assert torch.equal(first, again)
        assert torch.equal(first, other) == (attack not in CRAFTING)
        assert not first.requires_grad
    assert all(torch.equal(x, before[name]) for name, x in victim.state_dict().items())
    assert torch.equal(pool[:70], given[0])
    assert torch.equal(pool[:9], given[1])
    assert not victim.training


def test_parameters_have_an_effect(victim: Net, pool: Tensor) -> None:
    """Every one of them."""
    said = labels_of(victim, pool)
    for name in CRAFTING:
        attack = ATTACKS[name]
        default = attack.craft(victim, pool, pool, said, 12, torch_rng("p"))
        for parameter in fields(attack):
            value = getattr(attack, parameter.name)
            if isinstance(value, str):
                continue  # whose label: its own test
            other = replace(attack, **{parameter.name: value // 5 or 1 if isinstance(value, int) else value / 2})
            assert not torch.equal(other.craft(victim, pool, pool, said, 12, torch_rng("p")), default), parameter.name


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_contract_of_every_attack(attack: str, labels: ResponseFormat, victim: Net, pool: Tensor) -> None:
    """The whole budget and no image more, in [0, 1], natural images first, all steps of the recipe, same by seed."""
    result = extracted(victim, pool, attack, labels)
    crafts = attack in CRAFTING
    assert result.box.queries == len(result.queries) == 90
    assert [len(batch) for batch in result.box.batches] == ([45, 15, 15, 15] if crafts else [90])
    assert float(result.queries.min()) >= 0.0
    assert float(result.queries.max()) <= 1.0
    assert bool(result.queries.isfinite().all())
    natural = [bool((pool == image).flatten(1).all(1).any()) for image in result.queries]
    assert all(natural[:45])
    assert not any(natural[45:]) if crafts else all(natural)
    assert result.steps == 1280 // 64
    again = extracted(victim, pool, attack, labels)
    assert torch.equal(result.queries, again.queries)
    for name, weights in result.net.state_dict().items():
        assert torch.equal(weights, again.net.state_dict()[name]), name
    assert not torch.equal(result.queries, extracted(victim, pool, attack, labels, seed=1).queries)


@pytest.mark.parametrize("budget", [1, 2, 7, 50, 101])
@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_budget_is_spent_and_never_exceeded(
    attack: str, labels: ResponseFormat, budget: int, victim: Net, pool: Tensor
) -> None:
    """With a budget below the number of rounds, one that rounds do not divide, and one above a pool of twelve."""
    for rounds, natural_share in ((1, 1.0), (4, 1.0), (4, 0.3), (3, 0.0)):
        result = extracted(
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
        assert result.box.queries == len(result.queries) == spent
        first = natural_share if attack in CRAFTING else 1.0
        assert len(result.box.batches[0]) == min(12, max(1, int(budget * first)))
        assert all(bool(weights.isfinite().all()) for weights in result.net.parameters())


def test_knockoff_queries_the_whole_pool_and_counts_it(victim: Net, pool: Tensor) -> None:
    """A budget beyond the pool is left over; every natural image was queried once."""
    result = extracted(victim, pool[:12], "knockoff", budget=50, natural_share=0.1)
    assert (result.box.queries, result.box.budget) == (12, 50)
    assert torch.equal(result.queries.flatten(1).unique(dim=0), pool[:12].flatten(1).unique(dim=0))


class RecordingTrainer(Trainer):
    """A trainer that records its training data."""

    def run(
        self, images: Tensor, targets: Tensor, until: float = 1.0, after_step: Callable[[int], None] | None = None
    ) -> None:
        """Train, and keep images and targets."""
        super().run(images, targets, until, after_step)
        self.data = images, targets


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_top_k_responses_are_rescaled_to_a_distribution(attack: str, victim: Net, pool: Tensor) -> None:
    """The k largest of the victim's probabilities, in their proportions, sum to 1; the rest is 0."""
    trainer = RecordingTrainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("reader"))
    extract(Blackbox(victim, 60, TOP3), pool, trainer, ATTACKS[attack], rounds=2, natural_share=0.5)
    images, targets = trainer.data
    torch.testing.assert_close(targets.sum(1), torch.ones(60))
    largest = top_k(predict_probabilities(victim, images), 3)
    assert torch.equal(targets > 0, largest > 0)
    torch.testing.assert_close(targets * largest.sum(1, keepdim=True), largest)


def mixed(
    victim: Net, pool: Tensor, labels: ResponseFormat, true_labels: TrueLabels | None, budget: int = 60
) -> tuple[Recorder, RecordingTrainer]:
    """Ten steps of knockoff by an attacker who has true labels of the pool."""
    trainer = RecordingTrainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("mixed"))
    box = Recorder(victim, budget, labels)
    knockoff = ATTACKS["knockoff"]
    extract(box, pool, trainer, knockoff, rounds=0, natural_share=1.0, true_labels=true_labels)
    return box, trainer


@pytest.fixture(scope="module")
def true(pool: Tensor) -> Tensor:
    """Labels of the pool that no model gives: by brightness."""
    return (pool.flatten(1).sum(1) * 1000).long() % 10


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
def test_without_true_labels_nothing_changes(labels: ResponseFormat, victim: Net, pool: Tensor, true: Tensor) -> None:
    """Bit for bit what a random order of the pool, the victim's responses and the trainer give."""
    net, rng = build("C", (1, 8, 8), 10, 2, 0, CPU), torch_rng("mixed")
    images = pool[torch.randperm(len(pool), generator=rng)[:60]]
    responses = labels.respond(predict_probabilities(victim, images))
    targets = responses / responses.sum(1, keepdim=True) if labels == TOP3 else responses
    net.normalise_by(images)
    Trainer(net, Recipe("adam", 64, 640), rng).run(images, targets)
    for none in (None, TrueLabels(true, 0.0)):
        box, trainer = mixed(victim, pool, labels, none)
        assert torch.equal(torch.cat(box.batches), images)
        assert torch.equal(trainer.rng.get_state(), rng.get_state())
        for name, weights in net.state_dict().items():
            assert torch.equal(weights, trainer.net.state_dict()[name]), name


@pytest.mark.parametrize("share", [0.004, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
def test_a_mixing_attacker_sends_the_other_images_only(
    labels: ResponseFormat, share: float, victim: Net, pool: Tensor, true: Tensor
) -> None:
    """Same images in the same order at every share; true labels where none is sent, responses elsewhere."""
    _, alone = mixed(victim, pool, labels, None)
    box, trainer = mixed(victim, pool, labels, TrueLabels(true, share))
    n_true = {0.004: 0, 0.25: 15, 0.5: 30, 0.999: 59}[share]
    images, targets = trainer.data
    assert torch.equal(images, alone.data[0])
    assert torch.equal(torch.cat(box.batches), images[n_true:])
    assert box.queries == 60 - n_true
    torch.testing.assert_close(targets[n_true:], alone.data[1][n_true:])  # a batch of another size: other last bits
    assert (targets.dtype, targets.shape) == (alone.data[1].dtype, alone.data[1].shape)
    own = true[[int((pool == image).flatten(1).all(1).nonzero()[0]) for image in images[:n_true]]]
    if labels == LABEL:
        assert torch.equal(targets[:n_true], own)
    else:
        assert torch.equal(targets[:n_true].argmax(1), own)
        assert torch.equal(targets[:n_true].max(1).values, torch.ones(n_true))
        assert torch.equal(targets[:n_true].sum(1), torch.ones(n_true))
    one, other = alone.net.state_dict(), trainer.net.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one) == (n_true == 0)


def test_a_mixing_attacker_sends_at_least_one_image(victim: Net, pool: Tensor, true: Tensor) -> None:
    """Whatever the share: without a response nothing would be stolen."""
    for budget in (1, 2, 10):
        assert mixed(victim, pool, LABEL, TrueLabels(true, 0.99), budget)[0].queries == 1


def test_true_labels_are_refused_where_there_are_none(victim: Net, pool: Tensor, true: Tensor) -> None:
    """Of crafted images, before any query; and a share at which nothing is stolen."""
    for name in CRAFTING:
        trainer = Trainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("mixed"))
        box, half = Recorder(victim, 60, LABEL), TrueLabels(true, 0.5)
        with pytest.raises(UserError, match=rf"^true_share: expected 0 for {name}, .*, got 0\.5; .*$"):
            extract(box, pool, trainer, ATTACKS[name], rounds=1, natural_share=0.5, true_labels=half)
        assert box.queries == 0
    for share in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(UserError, match=r"^true_share: expected a share of at least 0 and below 1, got .*$"):
            TrueLabels(true, share)


def test_more_values_than_classes_is_soft(victim: Net, pool: Tensor) -> None:
    """The same weights, bit for bit; three values are something else."""
    soft, top99, top3 = (
        extracted(victim, pool, "jacobian", labels).net.state_dict()
        for labels in (PROBABILITIES, ResponseFormat(99), TOP3)
    )
    assert all(torch.equal(soft[name], top99[name]) for name in soft)
    assert not all(torch.equal(soft[name], top3[name]) for name in soft)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_no_natural_image_is_paid_for_twice(attack: str, victim: Net, pool: Tensor) -> None:
    """The first batch is drawn without replacement."""
    natural = extracted(victim, pool, attack, natural_share=1.0).box.batches[0]
    assert len(natural.flatten(1).unique(dim=0)) == len(natural) == 90


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_extracted_model_agrees_with_the_victim(attack: str, victim: Net, pool: Tensor, held_out: Tensor) -> None:
    """With a fair budget it agrees with the victim on images that neither has seen."""
    result = extracted(victim, pool, attack, budget=700, natural_share=0.6, samples_seen=15_000, width=8)
    agreement = (
        (predict_probabilities(result.net, held_out).argmax(1) == predict_probabilities(victim, held_out).argmax(1))
        .double()
        .mean()
    )
    assert float(agreement) > 0.7


@pytest.mark.parametrize("attack", ["cloudleak", "cloudleak_features"])
def test_cloudleak_sends_what_the_substitute_is_least_sure_of(attack: str, victim: Net, pool: Tensor) -> None:
    """Least confident first, and less sure of them than of natural images."""
    queries = ATTACKS[attack].craft(victim, pool, pool, labels_of(victim, pool), 40, torch_rng("cloudleak"))
    confidence = predict_probabilities(victim, queries).max(1).values
    assert bool((confidence.diff() >= -1e-6).all())
    assert float(confidence.mean()) < float(predict_probabilities(victim, pool).max(1).values.mean()) - 0.2


def test_jacobian_takes_one_signed_step(victim: Net, pool: Tensor) -> None:
    """Every pixel moves by the step, unless the edge of [0, 1] or a zero gradient stops it."""
    queries = ATTACKS["jacobian"].craft(victim, pool, pool[:1], labels_of(victim, pool[:1]), 2, torch_rng("jacobian"))
    step = (queries - pool[:1]).abs()
    at_edge = (queries == 0.0) | (queries == 1.0)
    assert float(step.max()) <= 0.1 + 1e-6
    assert float((step[~at_edge] - 0.1).abs().max()) < 1e-6


def test_jacobian_augmentation_follows_the_victims_label(victim: Net, pool: Tensor) -> None:
    """Where the victim says otherwise than the substitute, along the gradient of its label's logit."""
    images, substitute = pool[:20], victim
    said = (labels_of(substitute, images) + 3) % 10
    moved = pool[:20].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(substitute(moved).gather(1, said[:, None]).sum(), moved)
    order = torch.randperm(20, generator=torch_rng("j"))
    sign = torch.ones(20, 1, 1, 1)
    sign[::2] = -1.0
    expected = (images[order] + 0.1 * sign * gradient[order].sign()).clamp(0, 1)
    found = ATTACKS["jacobian"].craft(substitute, pool, images, said, 20, torch_rng("j"))
    torch.testing.assert_close(found, expected)
    as_before = attack_by("jacobian", "substitute").craft(substitute, pool, images, said, 20, torch_rng("j"))
    own = ATTACKS["jacobian"].craft(substitute, pool, images, labels_of(substitute, images), 20, torch_rng("j"))
    torch.testing.assert_close(as_before, own)
    assert not torch.equal(as_before, found)


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES], ids=str)
def test_what_is_crafted_sees_the_victims_labels(labels: ResponseFormat, victim: Net, pool: Tensor) -> None:
    """In every round, for every image queried so far."""
    seen: list[bool] = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(type(ATTACKS["jacobian"])):  # type: ignore[misc]
        def craft(self, substitute: Net, pool: Tensor, queried: Tensor, labels: Tensor, n: int, rng: Any) -> Tensor:
            seen.append(torch.equal(labels, labels_of(victim, queried)))
            return super().craft(substitute, pool, queried, labels, n, rng)  # type: ignore[no-any-return]

    trainer = Trainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("watching"))
    extract(Blackbox(victim, 90, labels), pool, trainer, Watching(), rounds=2, natural_share=0.5)
    assert seen == [True, True]


@pytest.fixture(scope="module")
def guided(victim: Net, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Sixty natural images, and for each one of another predicted class."""
    labels = predict_probabilities(victim, pool[:200]).argmax(1)
    return pool[:60], pool[of_another_class(labels[:60], labels, torch_rng("guides"))]


def test_features_approach_those_of_the_guide(victim: Net, guided: tuple[Tensor, Tensor]) -> None:
    """Every image, by a good part of the way, without leaving [0, 1] or moving further than its steps add up to."""
    images, guides = guided
    moved = CloudLeakFeatures().approach(victim, images, guides)
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
    distances = [
        float((CloudLeakFeatures(penalty=p).approach(victim, *guided) - images).flatten(1).norm(dim=1).mean())
        for p in penalties
    ]
    assert all(low > high for low, high in pairwise(distances))
    assert distances[2] < 0.6 * distances[0]
    assert len(guides) == len(images)


def test_a_batch_of_feature_examples_equals_one_by_one(victim: Net, guided: tuple[Tensor, Tensor]) -> None:
    """No image knows of the others in its batch."""
    images, guides = guided
    approach = CloudLeakFeatures().approach
    singles = [approach(victim, image[None], guide[None]) for image, guide in zip(images[:8], guides[:8], strict=True)]
    torch.testing.assert_close(torch.cat(singles), approach(victim, images, guides)[:8], atol=1e-4, rtol=0)


def test_guides_areof_another_class() -> None:
    """Any of them; where there is no other class, any image."""
    labels = torch.arange(3).repeat(400)
    guides = torch.tensor([0, 0, 1, 2, 2, 2])
    chosen = of_another_class(labels, guides, torch_rng("other"))
    assert bool((guides[chosen] != labels).all())
    for label in range(3):
        counts = chosen[labels == label].bincount(minlength=6)[guides != label]
        # Binomial, 400 draws of 3 to 5 guides: standard deviation below 10.
        assert float((counts - 400 / len(counts)).abs().max()) < 45
    alone = of_another_class(torch.zeros(50, dtype=torch.long), torch.zeros(4, dtype=torch.long), torch_rng("one"))
    assert alone.unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("attack", CRAFTING)
def test_black_and_equal_images_are_no_trouble(attack: str, victim: Net) -> None:
    """No norm to divide by, no feature distance, no other class: still numbers in [0, 1]."""
    for images in (torch.zeros(3, 1, 8, 8), torch.full((1, 1, 8, 8), 0.5)):
        queries = ATTACKS[attack].craft(victim, images, images, labels_of(victim, images), 5, torch_rng("dull"))
        assert queries.shape == (5, 1, 8, 8)
        assert bool(((queries >= 0) & (queries <= 1)).all())


def test_bad_input_is_reported_in_one_line(victim: Net, pool: Tensor) -> None:
    """Before any query."""
    with pytest.raises(UserError, match=r"^pool: expected at least one natural image.*$"):
        extracted(victim, pool[:0], "knockoff")
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"^natural_share: .*between 0 and 1, got .*$"):
            extracted(victim, pool, "cloudleak", natural_share=share)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_a_substitute_that_diverges_is_reported(attack: str, victim: Net, pool: Tensor) -> None:
    """And sends no images made of NaN."""
    net = build("C", (1, 8, 8), 10, 2, 0, CPU)
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = float("nan")
    box = Recorder(victim, 40, LABEL)
    trainer = Trainer(net, Recipe("adam", 64, 640), torch_rng("nan"))
    with pytest.raises(DivergedError, match=r"^substitute: its weights are not finite after step \d+ of 10; .*$"):
        extract(box, pool, trainer, ATTACKS[attack], rounds=2, natural_share=0.5)
    assert len(box.batches) == 1
