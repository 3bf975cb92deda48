"""Universal perturbations: equal to the published loop, inside their ball, better than chance."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net
from uapfp_dist.perturbations import uap as module
from uapfp_dist.perturbations.deepfool import OVERSHOOT
from uapfp_dist.perturbations.uap import (
    ALGORITHMS,
    DEEPFOOL_STEPS,
    MOMENTUM,
    RATE,
    REACH,
    SGD_BATCH,
    Uap,
    fooling_rate,
    make_uap,
    project,
    search_xi,
    uap_deepfool,
    uap_sgd,
)
from uapfp_dist.rng import torch_rng


def label_of(model: nn.Module, image: Tensor) -> int:
    """Label of one image (c, h, w)."""
    with torch.no_grad():
        return int(model(image[None]).argmax())


def deepfool_of_one(model: nn.Module, image: Tensor, label: int) -> Tensor:
    """DeepFool for one image, class by class, as its paper states it (Algorithm 2)."""
    total = torch.zeros_like(image)
    for _ in range(DEEPFOOL_STEPS):
        x = (image + (1 + OVERSHOOT) * total).requires_grad_()
        logits = model(x[None])[0]
        values = logits.tolist()
        if values.index(max(values)) != label:
            break
        gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in logits]
        best, step = float("inf"), torch.zeros_like(image)
        for k, gradient in enumerate(gradients):
            if k != label:
                w = gradient - gradients[label]
                f = abs(values[k] - values[label])
                if f / float(w.norm()) < best:
                    best, step = f / float(w.norm()), (f + 1e-4) / float(w.norm()) ** 2 * w
        total = total + step
    return (1 + OVERSHOOT) * total


def moosavi_dezfooli(model: nn.Module, images: Tensor, xi: float, passes: int, rng: torch.Generator) -> Tensor:
    """Algorithm 1 of "Universal adversarial perturbations" in the l2 ball, one image at a time."""
    labels = [label_of(model, image) for image in images]
    v = torch.zeros_like(images[0])
    for _ in range(passes):
        for i in torch.randperm(len(images), generator=rng).tolist():
            if label_of(model, images[i] + v) == labels[i]:
                v = v + deepfool_of_one(model, images[i] + v, labels[i])
                v = v * min(1.0, xi / float(v.norm()))
    return v[None]


def test_deepfool_loop_at_batch_one_is_the_published_one(victim: Net, own: Tensor) -> None:
    """The same order of images gives the same perturbation, step for step."""
    images, xi = own[:30], 1.5
    ours = uap_deepfool(victim, images, xi, 2, torch_rng("order"), batch_size=1)
    theirs = moosavi_dezfooli(victim, images, xi, 2, torch_rng("order"))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert float(ours.norm()) > 0.5 * xi


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_stays_in_the_ball_and_fools_more_than_a_random_vector(
    algorithm: str, victim: Net, own: Tensor, held_out: Tensor
) -> None:
    """On images it was not fitted on; random directions of the same norm are the baseline."""
    xi = 1.5
    v = ALGORITHMS[algorithm](victim, own[:200], xi, 4, torch_rng("uap"))
    assert v.shape == own[:1].shape
    assert float(v.norm()) <= xi * (1 + 1e-5)
    directions = torch.randn(5, 1, *own.shape[1:], generator=torch_rng("random"))
    by_chance = max(fooling_rate(victim, held_out, xi * d / d.norm(), clip=False) for d in directions)
    assert fooling_rate(victim, held_out, v, clip=False) > by_chance + 0.1


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_depends_on_nothing_but_its_generator(algorithm: str, victim: Net, own: Tensor) -> None:
    """The same generator gives the same bits, another one another perturbation."""
    first, again, other = (ALGORITHMS[algorithm](victim, own[:60], 1.0, 1, torch_rng(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_projection_is_the_nearest_point_of_the_ball() -> None:
    """Inside nothing moves; outside only the length changes."""
    v = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    torch.testing.assert_close(project(v, 6.0), v)
    torch.testing.assert_close(project(v, 1.0), v / 5)
    assert not bool(project(torch.zeros_like(v), 1.0).any())


def test_projection_takes_every_perturbation_for_itself() -> None:
    """A long one and a short one, together as alone."""
    v = torch.stack([torch.full((1, 2, 2), 3.0), torch.full((1, 2, 2), 0.1)])
    assert torch.equal(project(v, 1.0), torch.cat([project(v[:1], 1.0), v[1:]]))


def projected_gradient(
    model: nn.Module, images: Tensor, xi: float, passes: int, rng: torch.Generator, start: Tensor
) -> Tensor:
    """What `uap_sgd` documents, image by image: unit gradients of the mean clipped margin, momentum."""
    labels = [label_of(model, image) for image in images]
    v, velocity = start[0], torch.zeros_like(start[0])
    n_steps = passes * -(-len(images) // SGD_BATCH)
    step = 0
    for _ in range(passes):
        order = torch.randperm(len(images), generator=rng).tolist()
        for batch in (order[i : i + SGD_BATCH] for i in range(0, len(order), SGD_BATCH)):
            gradient = torch.zeros_like(v)
            for i in batch:
                x = (images[i] + v).requires_grad_()
                logits = model(x[None])[0]
                rival = max((k for k in range(len(logits)) if k != labels[i]), key=logits.tolist().__getitem__)
                margin = logits[labels[i]] - logits[rival]
                if margin > -1:
                    gradient += torch.autograd.grad(margin, x)[0] / len(batch)
            velocity = MOMENTUM * velocity + gradient / gradient.norm()
            v = v - xi * max(RATE, REACH / n_steps) * (1 - step / n_steps) * velocity
            v = v * min(1.0, xi / float(v.norm()))
            step += 1
    return v[None]


def test_projected_gradient_equals_its_image_by_image_form(victim: Net, own: Tensor) -> None:
    """In double precision, from a start inside the ball, with a last batch that is not full."""
    net, images, xi = copy.deepcopy(victim).double(), own[:130].double(), 1.5
    start = torch.randn(images[:1].shape, generator=torch_rng("start"), dtype=torch.float64) * 0.1
    theirs = projected_gradient(net, images, xi, 3, torch_rng("order"), start)
    torch.testing.assert_close(uap_sgd(net, images, xi, 3, torch_rng("order"), start), theirs)


@pytest.mark.parametrize("clip", [False, True])
def test_fooling_rate_counts_label_changes(clip: bool, victim: Net, own: Tensor, held_out: Tensor) -> None:
    """Against a loop over images: the share whose label differs from the clean prediction."""
    v = uap_sgd(victim, own[:200], 1.5, 2, torch_rng("uap"))
    changed = 0
    for image in held_out:
        moved = (image + v[0]).clamp(0, 1) if clip else image + v[0]
        changed += label_of(victim, moved) != label_of(victim, image)
    assert fooling_rate(victim, held_out, v, clip) == changed / len(held_out)


@pytest.mark.parametrize(("target", "expected"), [(0.0, 1.0), (0.35, 4.0), (0.4, 4.0), (0.95, 8.0)])
def test_search_takes_the_smallest_radius_that_suffices(
    target: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rate is a tenth of the radius; a target out of reach gives the largest radius of the grid."""

    def tenth(model: Any, images: Tensor, held_out: Tensor, xi: float, *_: Any) -> Uap:
        return Uap(torch.zeros(1, 1, 1, 1), xi, xi / 10, xi / 10)

    monkeypatch.setattr(module, "make_uap", tenth)
    images = torch.zeros(1, 1, 1, 1)
    found = search_xi(nn.Identity(), images, images, [4.0, 1.0, 8.0, 2.0], target, "sgd", 1, torch_rng(0))
    assert found.xi == expected


def test_search_on_a_net_reaches_its_target_and_no_smaller_radius_does(
    victim: Net, own: Tensor, held_out: Tensor
) -> None:
    """The rates it reports are those of the perturbation that it returns."""
    grid, target = [0.2, 0.6, 1.2, 1.8, 2.4], 0.6
    found = search_xi(victim, own[:200], held_out, grid, target, "sgd", 3, torch_rng("search"))
    assert found.fooling_rate >= target
    assert found.fooling_rate == fooling_rate(victim, held_out, found.v, clip=False)
    assert found.fooling_rate_clipped == fooling_rate(victim, held_out, found.v, clip=True)
    smaller = grid[: grid.index(found.xi)]
    assert smaller
    short = search_xi(victim, own[:200], held_out, smaller, target, "sgd", 3, torch_rng("search"))
    assert short.fooling_rate < target


def test_unknown_algorithm_lists_the_known_ones(victim: Net, own: Tensor) -> None:
    """One line that names what was expected and what there is."""
    with pytest.raises(UserError, match=r"gan.*deepfool, sgd"):
        make_uap(victim, own, own, 1.0, "gan", 1, torch_rng(0))
