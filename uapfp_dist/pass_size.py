"""How many images go through a net in one pass, forward or backward, where nothing but the speed depends on it.

And, for some nets, the last bits of its sums: a size is the same in every run.
"""

import torch
from torch import Tensor

MOST = 500
"""Images of a pass."""
CPU_PIXELS = 2**17
"""Pixels of a pass on a CPU: with more, the activations of small nets leave the cache, at half the speed or less."""
EVEN = 8
"""Large images go in multiples of as many."""


def pass_size(images: Tensor, device: torch.device | None = None) -> int:
    """Images of a pass, 8 to 500.

    Args:
        images: (..., h, w).
        device: the net's; that of `images` by default.
    """
    room = cache_room(images, device)
    return MOST if room is None else min(MOST, max(EVEN, room // EVEN * EVEN))


def cache_room(images: Tensor, device: torch.device | None = None) -> int | None:
    """Images of a pass that leaves the activations of small nets in the cache, at least 1; None: no limit, on a GPU.

    Arguments as of `pass_size`.
    """
    if (device or images.device).type != "cpu":
        return None
    height, width = images.shape[-2:]
    return max(1, CPU_PIXELS // (height * width))


def in_passes(images: Tensor, device: torch.device | None = None) -> tuple[Tensor, ...]:
    """`images` (B, c, h, w) in order, those of one pass together; arguments as of `pass_size`."""
    return images.split(pass_size(images, device))
