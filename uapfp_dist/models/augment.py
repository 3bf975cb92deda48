"""Random augmentation of a batch; labels stay valid."""

import torch
from torch import Tensor

LARGEST_SHIFT = 1 / 8
"""Of the side."""
N_DRAWN = 3
"""Numbers drawn for each image: the shifts of its rows and columns, and whether it is mirrored."""


def shift_and_mirror(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its sides and, half of the time, mirrored left to right.

    Pixels beyond an edge are reflected there. One gather for the whole batch, on its device.

    Args:
        images: (B, c, h, w).
        rng: CPU generator, so that the augmentation is the same on every device.
    """
    return moved(images, draw_moves(len(images), images.shape[-2], images.shape[-1], rng))


def draw_moves(n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """(N_DRAWN, n) int64, on the CPU: how `moved` moves n images of that size."""
    shifts = [
        torch.randint(-largest, largest + 1, (n, 1), generator=rng)
        for largest in (int(height * LARGEST_SHIFT), int(width * LARGEST_SHIFT))
    ]
    mirrored = torch.randint(2, (n, 1), generator=rng, dtype=torch.bool)
    return torch.cat([*shifts, mirrored], dim=1).T


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """Images (B, c, h, w) moved by `moves` (N_DRAWN, B), on one device with them or on the CPU."""
    n, channels, height, width = images.shape
    down, right, mirrored = moves[:, :, None].unbind()
    rows, columns = _positions(down, height), _positions(right, width)
    columns = torch.where(mirrored.bool(), columns.flip(1), columns)
    batch, channel = torch.arange(n, device=moves.device), torch.arange(channels, device=moves.device)
    index = (batch[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None])
    return images[tuple(part.to(images.device, non_blocking=True) for part in index)]


def _positions(shift: Tensor, side: int) -> Tensor:
    """(n, side): the row of the image that each row is taken from; beyond an edge, the row as far inside of it."""
    position = torch.arange(side, device=shift.device) + shift
    return (side - 1) - ((side - 1) - position.abs()).abs()
