"""Random augmentation of a batch; labels stay valid."""

import torch
from torch import Tensor

LARGEST_SHIFT = 1 / 8
"""Of the side."""


def shift_and_mirror(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its sides and, half of the time, mirrored left to right.

    Pixels beyond an edge are reflected there. One gather for the whole batch, on its device.

    Args:
        images: (B, c, h, w).
        rng: CPU generator, so that the augmentation is the same on every device.
    """
    n, channels, height, width = images.shape
    rows = _positions(n, height, rng)
    columns = _positions(n, width, rng)
    mirrored = torch.randint(2, (n, 1), generator=rng, dtype=torch.bool)
    columns = torch.where(mirrored, columns.flip(1), columns)
    batch, channel = torch.arange(n), torch.arange(channels)
    index = (batch[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None])
    return images[tuple(part.to(images.device, non_blocking=True) for part in index)]


def _positions(n: int, side: int, rng: torch.Generator) -> Tensor:
    """(n, side): the row of the image that each row is taken from; beyond an edge, the row as far inside of it."""
    largest = int(side * LARGEST_SHIFT)
    shift = torch.randint(-largest, largest + 1, (n, 1), generator=rng)
    position = torch.arange(side) + shift
    return (side - 1) - ((side - 1) - position.abs()).abs()
