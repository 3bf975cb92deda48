"""ELU and PReLU by our own hand: torch's functions and gradients, one at a time, many at once, in double precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from uapfp_dist.models.activations import Elu, PRelu
from uapfp_dist.rng import torch_rng

PAIRS = [(Elu, nn.ELU), (PRelu, nn.PReLU)]


def inputs() -> Tensor:
    """Both signs, zeros of both signs, numbers so small or large that an exponential rounds or overflows."""
    edge = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-8, -1e-8, 30.0, -30.0, 1e4, -1e4])
    return torch.cat([edge, 3 * torch.randn(490, generator=torch_rng("activations"))]).view(5, 4, 5, 5)


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_values_and_gradients_are_torchs(ours: Callable[[], nn.Module], torchs: Callable[[], nn.Module]) -> None:
    """Of the input and of what is learnt, to single precision."""
    gradient = torch.randn(5, 4, 5, 5, generator=torch_rng("gradient"))
    found = []
    for module in (ours(), torchs()):
        x = inputs().requires_grad_()
        y = module(x)
        found.append((y, *torch.autograd.grad(y, [x, *module.parameters()], gradient)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_gradients_are_those_of_the_values(ours: Callable[[], nn.Module], torchs: Callable[[], nn.Module]) -> None:
    """By finite differences, away from the kink."""
    x = torch.tensor([-2.0, -0.5, -1e-2, 1e-2, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours().double(), (x,))


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_many_gradients_at_once(ours: Callable[[], nn.Module], torchs: Callable[[], nn.Module]) -> None:
    """As DeepFool computes them, one per class."""
    module = ours()
    x = inputs()[0, 0].requires_grad_()
    y = module(x)
    each = torch.eye(25).view(25, 5, 5)
    batched = torch.vmap(lambda one: torch.autograd.grad(y, x, one, retain_graph=True)[0])(each)
    singly = torch.stack([torch.autograd.grad(y, x, one, retain_graph=True)[0] for one in each])
    torch.testing.assert_close(batched, singly, rtol=0, atol=0)


def test_a_net_without_gradients_answers_the_same() -> None:
    """QueryConfig does not go another way than training."""
    for ours, _ in PAIRS:
        module = ours()
        with torch.no_grad():
            silent = module(inputs())
        assert torch.equal(silent, module(inputs()).detach())


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_exporters_see_torchs_own(ours: Callable[[], nn.Module], torchs: Callable[[], nn.Module]) -> None:
    """A graph of a net holds no function of ours, which no exporter could translate."""
    x = inputs()
    graph = torch.export.export(ours().eval(), (x,))
    assert "autograd" not in str(graph.graph)
    torch.testing.assert_close(graph.module()(x), torchs().eval()(x), atol=1e-6, rtol=1e-6)
