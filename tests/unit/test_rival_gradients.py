"""DeepFool's gradients: the slow loop's for every architecture, however they are grouped, in bounded memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from uapfp_dist.models import ARCHITECTURES, build
from uapfp_dist.models.activations import Elu, PRelu
from uapfp_dist.perturbations import rival_gradients as module
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.frozen import frozen
from uapfp_dist.perturbations.rival_gradients import (
    CACHE,
    FEWEST,
    Footprint,
    footprint,
    images_at_once,
    rival_gradients,
    rivals_at_once,
)
from uapfp_dist.rng import torch_rng

CPU = torch.device("cpu")
MIB = 2**20


def rivals_of(logits: Tensor, labels: Tensor, n: int) -> Tensor:
    """(B, n): the strongest, as DeepFool takes them."""
    return logits.detach().scatter(1, labels[:, None], float("-inf")).topk(n).indices


def one_image_one_rival(net: nn.Module, images: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """(B, K, c, h, w), a forward and a backward pass for each."""
    found = torch.empty(*rivals.shape, *images.shape[1:], dtype=images.dtype)
    for i, image in enumerate(images):
        for k, rival in enumerate(rivals[i].tolist()):
            x = image[None].clone().requires_grad_()
            logits = net(x)[0]
            (found[i, k],) = torch.autograd.grad(logits[rival] - logits[labels[i]], x)[0]
    return found


def grouped(net: nn.Module, images: Tensor, labels: Tensor, rivals: Tensor, at_once: int) -> Tensor:
    """`rival_gradients` from a forward pass of its own."""
    x = images.clone().requires_grad_()
    with frozen(net):
        return rival_gradients(net(x), x, labels, rivals, at_once)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize(
    "shape", [(1, 16, 16), pytest.param((3, 16, 16), marks=pytest.mark.slow)], ids=["grey", "colour"]
)
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_the_slow_loops(name: str, shape: tuple[int, int, int]) -> None:
    """One rival at a time, in groups, all at once; nothing falls back to a loop of its own."""
    net = build(name, shape, 6, 3, seed=1, device=CPU).double().eval()
    images = torch.rand(2, *shape, generator=torch_rng("batch"), dtype=torch.float64)
    labels = net(images).argmax(1)
    rivals = rivals_of(net(images), labels, 3)
    slow = one_image_one_rival(net, images, labels, rivals)
    assert bool((slow.flatten(2).norm(dim=2) > 0).all())
    for at_once in (1, 2, 3):
        assert_close(grouped(net, images, labels, rivals, at_once), slow)


@pytest.mark.parametrize("activation", [Elu, PRelu, nn.ELU, nn.PReLU, nn.ReLU])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_every_activation_has_a_batching_rule(activation: Callable[[], nn.Module], at_once: int) -> None:
    """Those of torch and our own."""
    rng = torch_rng("weights")
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), activation(), nn.Linear(8, 5))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    images = torch.randn(6, 1, 3, 3, generator=rng)
    labels = net(images).argmax(1)
    rivals = rivals_of(net(images), labels, 4)
    assert_close(grouped(net, images, labels, rivals, at_once), one_image_one_rival(net, images, labels, rivals))


@pytest.mark.parametrize("name", ["A", "B", "C", "D", "E"])
def test_grouping_keeps_every_bit(name: str) -> None:
    """From `FEWEST` images on: what is stored does not depend on the group. Norms too, which sum in memory's order."""
    net = build(name, (1, 8, 8), 10, 8, seed=1, device=CPU).eval()
    for n in (FEWEST, 9, 30):
        images = torch.rand(n, 1, 8, 8, generator=torch_rng("batch"))
        labels = net(images).argmax(1)
        rivals = rivals_of(net(images), labels, 9)
        each, all_at_once = (grouped(net, images, labels, rivals, at_once) for at_once in (1, 9))
        assert torch.equal(each, all_at_once)
        assert torch.equal(each.flatten(2).norm(dim=2), all_at_once.flatten(2).norm(dim=2))


def test_a_footprint_is_what_the_graph_keeps() -> None:
    """Two activations of 4 * 16 * 16 and 10 floats, and the input; no weights, nothing twice."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10), nn.Sigmoid())
    with frozen(net):
        size = footprint(net, torch.rand(1, 1, 16, 16))
    assert size == Footprint(graph=4096 + 40 + 1024, largest=4096, n_classes=10)


def test_rivals_share_a_pass_where_their_gradients_fit() -> None:
    """On a CPU all or one; on a GPU as many as its memory allows."""
    small, large = Footprint(0, CACHE // (9 * 16)), Footprint(0, CACHE)
    assert rivals_at_once(small, 16, 9, CPU) == 9
    assert rivals_at_once(small, 17, 9, CPU) == 1
    assert rivals_at_once(small, FEWEST - 1, 9, CPU) == 1
    assert rivals_at_once(small, 16, FEWEST - 1, CPU) == 1
    assert rivals_at_once(large, 500, 9, CPU) == 1
    cuda = torch.device("cuda")
    assert rivals_at_once(small, 500, 9, cuda) == 9
    assert rivals_at_once(large, 500, 9, cuda) == 4096 // (module.LIVE * 500)
    assert rivals_at_once(Footprint(0, 2**40), 1, 9, cuda) == 1
    assert images_at_once(Footprint(2**40, 2**40), torch.zeros(1, 3, 64, 64), 9) == 1
    pixel = torch.zeros(1, 1, 1, 1)
    assert images_at_once(Footprint(96, 8, 10), pixel, 10) == images_at_once(Footprint(96, 8, 10), pixel, 10**6)


def most_held(work: Callable[[], object]) -> int:
    """Bytes that `work` holds at most beside what there was before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize(
    ("name", "n_images", "bound"),
    [("A", 160, 6), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("D", 160, 6), ("resnet18", 32, 16)))],
)
def test_memory_is_bounded_whatever_the_batch(
    name: str, n_images: int, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To `bound` MiB, what is as large as the batch itself, and a copy of the largest weight that a kernel may take."""
    net = build(name, (3, 16, 16), 10, 16, seed=1, device=CPU).eval()
    images = torch.rand(n_images, 3, 16, 16, generator=torch_rng("batch"))
    unbounded = most_held(lambda: deepfool(net, images, max_steps=2))
    monkeypatch.setitem(module.GRAPH_BYTES, "cpu", bound * MIB)
    held = most_held(lambda: deepfool(net, images, max_steps=2))
    assert held <= bound * MIB + 4 * images.nbytes + max(parameter.nbytes for parameter in net.parameters())
    assert unbounded > 2 * held


@pytest.mark.parametrize("at_once", [1, 3, 9])
def test_rivals_at_once_hold_what_is_foreseen(at_once: int) -> None:
    """`LIVE` gradients of the largest activation for each rival and image, beside the graph and the result."""
    net = build("D", (3, 16, 16), 10, 16, seed=1, device=CPU).eval()
    images = torch.rand(8, 3, 16, 16, generator=torch_rng("batch"))
    labels = net(images).argmax(1)
    rivals = rivals_of(net(images), labels, 9)
    with frozen(net):
        size = footprint(net, images[:1])
    held = most_held(lambda: grouped(net, images, labels, rivals, at_once))
    result = 9 * images.nbytes
    assert held <= 8 * size.graph + module.LIVE * 8 * at_once * size.largest + 2 * result + MIB // 4


@pytest.mark.parametrize("name", ["A", "D"])
def test_chunks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 1e-6."""
    net = build(name, (1, 8, 8), 10, 8, seed=1, device=CPU).eval()
    images = torch.rand(50, 1, 8, 8, generator=torch_rng("batch"))
    labels = net(images).argmax(1)
    whole = deepfool(net, images, labels)
    sizes: list[int] = []
    net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setitem(module.GRAPH_BYTES, "cpu", 2**18)
    chunked = deepfool(net, images, labels)
    assert 1 < max(sizes) < 25
    torch.testing.assert_close(chunked.delta, whole.delta, rtol=0, atol=1e-6)
    assert torch.equal(chunked.fooled, whole.fooled)


def test_parameters_are_frozen_only_inside() -> None:
    """Those that needed gradients need them again, also after an error; the others still need none."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))

    def fail() -> None:
        with frozen(net):
            assert not any(parameter.requires_grad for parameter in net.parameters())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [parameter.requires_grad for parameter in net.parameters()] == [True, True, False, False]
