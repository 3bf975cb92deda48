"""Architectures by name. To add one: a builder, a line in ARCHITECTURES."""

from collections.abc import Callable

import torch

from uapfp_dist.errors import known
from uapfp_dist.science.rng import seeded
from uapfp_dist.science.zoo.cnn import TABLE_1, Cnn
from uapfp_dist.science.zoo.net import Net

Builder = Callable[[tuple[int, int, int], int, int], Net]
"""(image shape, number of classes, width) to a net with random weights."""


def _table_1(name: str) -> Builder:
    return lambda shape, n_classes, width: Cnn(TABLE_1[name], shape, n_classes, width)


ARCHITECTURES: dict[str, Builder] = {name: _table_1(name) for name in TABLE_1}

__all__ = ["ARCHITECTURES", "Net", "build"]


def build(name: str, shape: tuple[int, int, int], n_classes: int, width: int, seed: int, device: torch.device) -> Net:
    """A new net with the random weights of `seed` (the same on every device).

    Raises:
        UserError: unknown architecture.
    """
    if name not in ARCHITECTURES:
        raise known("architecture", name, ARCHITECTURES)
    with seeded(seed, torch.device("cpu")):
        net = ARCHITECTURES[name](shape, n_classes, width)
    memory_format = torch.channels_last if shape[0] > 1 or device.type == "cpu" else torch.contiguous_format
    return net.to(device).to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]
