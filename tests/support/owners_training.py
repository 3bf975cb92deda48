"""A model owner's training functions, as the tests import them by path: one that works, and faulty ones."""

import sys
import time

import torch
from owners_net import OwnersNet
from torch import Tensor, nn

from uapfp_dist.models import build

BROKEN = False
"""Whether `sometimes` fails."""


def train(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """As the owner trains the victim, from any seed."""
    assert images.dtype == torch.float32
    assert images.device.type == labels.device.type == device.type
    assert 0.0 <= float(images.min()) < 0.5 < float(images.max()) <= 1.0
    torch.random.manual_seed(seed)
    net = OwnersNet(10, (images.shape[1], images.shape[2], images.shape[3])).to(device)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net


def out_of_time(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """An error of its own that looks like the end of the time it has."""
    raise TimeoutError("no answer")


def fails(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """A defect."""
    raise ZeroDivisionError("at\nonce")


def sometimes(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Fails while BROKEN."""
    return fails(images, labels, seed, device) if BROKEN else train(images, labels, seed, device)


def leaves(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Ends the process, or so it thinks."""
    sys.exit(0)


def hangs(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Longer than it has."""
    time.sleep(1.0)
    return train(images, labels, seed, device)


def never_ends(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """And is deaf to errors."""
    while True:
        train(images, labels, seed, device)


def gives_nothing(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> None:
    """Forgets to return it."""


def gives_wide(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Of one class more."""
    return OwnersNet(11, (1, 8, 8))


def gives_nan(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Diverged."""
    net = OwnersNet(10, (1, 8, 8))
    nn.init.constant_(net.last.bias, float("nan"))
    return net


class _Softened(OwnersNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 7


class _Short(OwnersNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :3]


class _Endless(OwnersNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0.0


class _Fragile(OwnersNet):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("no images, please")


def gives_softened(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """The same weights in another module: what was trained is not what the factory makes."""
    return _Softened(10, (1, 8, 8))


def gives_short(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Outputs of another shape."""
    return _Short(10, (1, 8, 8))


def gives_endless(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Finite weights, infinite logits."""
    return _Endless(10, (1, 8, 8))


def gives_fragile(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """A module that cannot be asked."""
    return _Fragile(10, (1, 8, 8))


def deaf(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Whatever the seed."""
    return train(images, labels, 5, device)


def untrained(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Knows no more than chance."""
    torch.random.manual_seed(seed)
    return OwnersNet(10, (1, 8, 8))


def gives_known(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """A net of Table 1, by this package's own code."""
    net = build("A", (1, 8, 8), 10, 4, seed, device)
    net.normalise_by(images)
    return net


NO_FUNCTION = 3
