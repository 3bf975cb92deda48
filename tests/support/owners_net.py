"""A model owner's own code, as the tests of enrolment import it by path: the preprocessing is inside the module."""

import torch
from torch import Tensor, nn


class OwnersNet(nn.Module):
    """Two layers, and a shift that only the owner knows."""

    def __init__(self, n_classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 24), nn.ReLU())
        self.last = nn.Linear(24, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.layers(images * 2 - 1))


def make(n_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The factory."""
    return OwnersNet(n_classes, shape)


def trained(images: Tensor, labels: Tensor, n_classes: int) -> nn.Module:
    """The module, trained a little on (N, c, h, w) images."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        net = OwnersNet(n_classes, (images.shape[1], images.shape[2], images.shape[3]))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net


def make_wide(n_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Of one class more."""
    return OwnersNet(n_classes + 1, shape)


def make_trouble(n_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A defect."""
    raise ZeroDivisionError("at\nonce")


def make_nothing(n_classes: int, shape: tuple[int, int, int]) -> object:
    """Not a module."""
    return n_classes, shape
