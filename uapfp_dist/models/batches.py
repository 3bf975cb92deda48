"""Which images each step of a training sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from uapfp_dist.models.augment import Moves, draw_moves

AHEAD = 256
"""Steps that are drawn and sent to a GPU at once: a megabyte."""


@dataclass(frozen=True)
class Batch:
    """One step's."""

    index: Tensor
    """(B,) int64 into the images, on the device they are on."""
    moves: Moves | None
    """For `shift_and_mirror`; None without augmentation."""


def batches(
    n_images: int,
    n_steps: int,
    batch_size: int,
    rng: torch.Generator,
    device: torch.device,
    augmented: tuple[int, int] | None,
    ahead: int,
) -> Iterator[Batch]:
    """Permutations of all images, joined; a batch of fewer comes only where there are fewer images.

    Args:
        n_images: to choose from.
        n_steps: batches.
        batch_size: images of each.
        rng: CPU generator: the same on every device, whatever `ahead` is.
        device: where the images are.
        augmented: (height, width) of images that are augmented; None: they are not.
        ahead: steps that are drawn at once. On a GPU they are sent at once, too, and nobody waits.
    """
    drawn = _drawn(n_images, n_steps, batch_size, rng, augmented)
    if ahead == 1 or device.type == "cpu":
        yield from (Batch(one.index.to(device), one.moves) for one in drawn)
        return
    while chunk := list(islice(drawn, ahead)):
        yield from _sent(chunk, device)


def _drawn(
    n_images: int, n_steps: int, batch_size: int, rng: torch.Generator, augmented: tuple[int, int] | None
) -> Iterator[Batch]:
    """Each on the CPU."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(n_steps):
        if len(order) < batch_size:
            order = torch.cat([order, torch.randperm(n_images, generator=rng)])
        index, order = order[:batch_size], order[batch_size:]
        yield Batch(index, draw_moves(len(index), *augmented, rng) if augmented else None)


def _sent(chunk: list[Batch], device: torch.device) -> Iterator[Batch]:
    """All of them as one tensor, a row for each number of an image."""
    rows = [torch.stack([one.index, *(move[:, 0].long() for move in one.moves or ())]) for one in chunk]
    together = torch.cat(rows, dim=1)
    if device.type == "cuda":
        together = together.pin_memory()  # of memory that may be swapped out the copy would be waited for
    for part in together.to(device, non_blocking=True).split([len(one.index) for one in chunk], dim=1):
        index, *moves = part
        yield Batch(index, (moves[0][:, None], moves[1][:, None], moves[2][:, None].bool()) if moves else None)
