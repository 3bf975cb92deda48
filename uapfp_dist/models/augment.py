"""Random augmentation of a batch; labels stay valid."""

import torch
from torch import Tensor

LARGEST_SHIFT = 1 / 8
"""Of the side."""
Moves = tuple[Tensor, Tensor, Tensor]
"""(n, 1) each: the shifts of rows and of columns of n images, and whether they are mirrored."""


def draw_moves(n: int, height: int, width: int, rng: torch.Generator) -> Moves:
    """Shifts of up to an eighth of the sides, and a mirror half of the time, for n images of that size.

    On the CPU, as `rng` is, so that they are the same on every device.
    """
    down, right = (
        torch.randint(-largest, largest + 1, (n, 1), generator=rng)
        for largest in (int(height * LARGEST_SHIFT), int(width * LARGEST_SHIFT))
    )
    return down, right, torch.randint(2, (n, 1), generator=rng, dtype=torch.bool)


def shift_and_mirror(images: Tensor, moves: Moves) -> Tensor:
    """Images (n, c, h, w) shifted, then mirrored left to right, by `moves`, on their device or on the CPU.

    Pixels beyond an edge are reflected there. One gather for the whole batch.
    """
    n, channels, height, width = images.shape
    down, right, mirrored = moves
    rows, columns = _positions(down, height), _positions(right, width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    batch, channel = torch.arange(n, device=down.device), torch.arange(channels, device=down.device)
    index = (batch[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None])
    return images[tuple(part.to(images.device, non_blocking=True) for part in index)]


def _positions(shift: Tensor, side: int) -> Tensor:
    """(n, side): the row of the image that each row is taken from; beyond an edge, the row as far inside of it."""
    position = torch.arange(side, device=shift.device) + shift
    return (side - 1) - ((side - 1) - position.abs()).abs()
