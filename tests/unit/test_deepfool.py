"""DeepFool: exact where the boundary is a plane, the same in a batch as alone, honest about what it fooled."""

import copy

import pytest
import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.perturbations.deepfool import OVERSHOOT, deepfool
from uapfp_dist.rng import torch_rng

CPU = torch.device("cpu")


def linear_net(n_classes: int = 4, side: int = 3) -> tuple[nn.Module, nn.Linear]:
    """x to W x + b, in double precision, and its layer."""
    linear = nn.Linear(side * side, n_classes).double()
    rng = torch_rng("linear")
    with torch.no_grad():
        linear.weight.copy_(torch.randn(linear.weight.shape, generator=rng, dtype=torch.float64))
        linear.bias.copy_(torch.randn(linear.bias.shape, generator=rng, dtype=torch.float64))
    return nn.Sequential(nn.Flatten(), linear), linear


def distance_to_nearest_boundary(linear: nn.Linear, image: Tensor) -> float:
    """min over k of |(w_k - w_y).x + b_k - b_y| / ||w_k - w_y||, y the label of x."""
    w, b = linear.weight.detach(), linear.bias.detach()
    logits = w @ image.flatten() + b
    y = int(logits.argmax())
    gaps = [float((logits[y] - logits[k]) / (w[k] - w[y]).norm()) for k in range(len(logits)) if k != y]
    return min(gaps)


def test_linear_net_is_crossed_at_the_distance_of_its_nearest_plane() -> None:
    """|w.x + b| / ||w|| is what DeepFool finds in one step, lengthened by the overshoot."""
    net, linear = linear_net()
    images = torch.rand(20, 1, 3, 3, generator=torch_rng("images"), dtype=torch.float64)
    found = deepfool(net, images)
    exact = torch.tensor([distance_to_nearest_boundary(linear, image) for image in images])
    assert bool(found.fooled.all())
    torch.testing.assert_close(
        found.delta.flatten(1).norm(dim=1) / (1 + OVERSHOOT), exact.double(), rtol=1e-3, atol=1e-3
    )


def test_linear_net_moves_to_the_class_behind_the_nearest_plane() -> None:
    """A step along w_k - w_y: the perturbation has no component that does not bring the boundary nearer."""
    net, linear = linear_net()
    images = torch.rand(20, 1, 3, 3, generator=torch_rng("images"), dtype=torch.float64)
    delta = deepfool(net, images).delta
    w = linear.weight.detach()
    before, after = net(images).argmax(1), net(images + delta).argmax(1)
    normal = w[after] - w[before]
    cosine = torch.cosine_similarity(delta.flatten(1), normal, dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-9)


def test_a_batch_gives_what_its_images_give_one_by_one() -> None:
    """Images leave the batch at different times; none may feel the others."""
    net = build("C", (1, 8, 8), 5, 3, seed=1, device=CPU).eval()
    images = torch.rand(12, 1, 8, 8, generator=torch_rng("batch"))
    together = deepfool(net, images)
    alone = [deepfool(net, image[None]) for image in images]
    torch.testing.assert_close(together.delta, torch.cat([a.delta for a in alone]), rtol=1e-3, atol=1e-5)
    assert together.fooled.tolist() == [bool(a.fooled) for a in alone]


def test_images_that_already_left_their_label_take_no_step(victim: Net, held_out: Tensor) -> None:
    """With a wrong label given, there is nothing to do; the other images of the batch still move."""
    images = held_out[:10]
    labels = victim(images).argmax(1)
    labels[::2] = (labels[::2] + 1) % 10
    found = deepfool(victim, images, labels)
    moved = found.delta.flatten(1).norm(dim=1) > 0
    assert not bool(moved[::2].any())
    assert bool(moved[1::2].all())
    assert bool(found.fooled[::2].all())


def test_what_is_called_fooled_is_fooled(victim: Net, held_out: Tensor) -> None:
    """Every flag, true or false, stands a re-evaluation - also when the steps do not suffice."""
    images = held_out[:40]
    labels = victim(images).argmax(1)
    for max_steps in (1, 2, 50):
        found = deepfool(victim, images, max_steps=max_steps)
        changed = victim(images + found.delta).argmax(1) != labels
        assert found.fooled.tolist() == changed.tolist()
    assert bool(found.fooled.all())


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_no_image_takes_more_steps_than_allowed(allowed: int) -> None:
    """Steps shortened to a tenth never arrive: behind a plane at distance d, k of them cover d (1 - .9^k)."""
    net, linear = linear_net(n_classes=2)
    images = torch.rand(5, 1, 3, 3, generator=torch_rng("images"), dtype=torch.float64)
    exact = torch.tensor([distance_to_nearest_boundary(linear, image) for image in images])
    covered = deepfool(net, images, overshoot=-0.9, max_steps=allowed).delta.flatten(1).norm(dim=1)
    torch.testing.assert_close(covered, exact.double() * (1 - 0.9**allowed), rtol=1e-2, atol=1e-3)


def one_image_class_by_class(model: nn.Module, image: Tensor, n_candidates: int, steps: int) -> Tensor:
    """Algorithm 2 of the paper for one image, over the classes that are largest on the image itself, as its code does.

    The 1e-4 is ours: it lets a step leave a boundary on which the point already lies.
    """
    order = model(image[None])[0].argsort(descending=True).tolist()
    label, rivals = order[0], order[1:n_candidates]
    total = torch.zeros_like(image)
    for _ in range(steps):
        x = (image + (1 + OVERSHOOT) * total).requires_grad_()
        logits = model(x[None])[0]
        if int(logits.argmax()) != label:
            break
        best, step = float("inf"), torch.zeros_like(image)
        (own,) = torch.autograd.grad(logits[label], x, retain_graph=True)
        for k in rivals:
            w = torch.autograd.grad(logits[k], x, retain_graph=True)[0] - own
            f, norm = abs((logits[k] - logits[label]).item()), w.norm().item()
            if f / norm < best:
                best, step = f / norm, (f + 1e-4) / norm**2 * w
        total = total + step
    return (1 + OVERSHOOT) * total.detach()


@pytest.mark.parametrize("n_candidates", [2, 4, 10, 1000])
def test_equals_the_published_loop_over_the_same_candidates(n_candidates: int, victim: Net, held_out: Tensor) -> None:
    """In double precision, where both take the same branches; more candidates than classes means all of them."""
    net, images = copy.deepcopy(victim).double(), held_out[:12].double()
    theirs = [one_image_class_by_class(net, image, n_candidates, 50) for image in images]
    torch.testing.assert_close(deepfool(net, images, n_candidates=n_candidates).delta, torch.stack(theirs))


def test_fewer_candidates_never_find_a_nearer_plane() -> None:
    """On a linear net one step is exact, so leaving classes out can only lengthen it - and here does for some."""
    net, _ = linear_net(n_classes=8)
    images = torch.rand(40, 1, 3, 3, generator=torch_rng("images"), dtype=torch.float64)
    norms = [deepfool(net, images, n_candidates=n).delta.flatten(1).norm(dim=1) for n in (8, 4, 2)]
    assert bool((norms[1] >= norms[0] * (1 - 1e-9)).all())
    assert bool((norms[2] >= norms[1] * (1 - 1e-9)).all())
    assert bool((norms[2] > norms[0] * 1.01).any())


@pytest.mark.parametrize("n_candidates", [-1, 0, 1])
def test_without_a_rival_there_is_no_boundary(n_candidates: int, victim: Net, held_out: Tensor) -> None:
    """One line that says how many are needed."""
    with pytest.raises(UserError, match=rf"at least 2 .*got {n_candidates}$"):
        deepfool(victim, held_out[:2], n_candidates=n_candidates)


def test_the_net_is_left_as_it_was(victim: Net, held_out: Tensor) -> None:
    """No gradient is left in parameters or images, and parameters that need none do not hinder."""
    net, images = copy.deepcopy(victim), held_out[:4].clone()
    found = deepfool(net, images)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert images.grad is None
    assert not found.delta.requires_grad
    assert torch.equal(deepfool(net.requires_grad_(False), images).delta, found.delta)
