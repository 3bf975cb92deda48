"""What crafting attacks send: by the substitute's doubt, its gradients and features, and the victim's labels."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from extractions import CPU, CRAFTING, labels_of
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, attack_by, extract
from uapfp_dist.attacks.cloudleak import CloudLeakFeatures, of_another_class
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe


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
