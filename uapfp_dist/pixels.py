"""Images in 8 bits, and as numbers in [0, 1]: the same bits on every device."""

import torch
from torch import Tensor


def as_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]; others as they are."""
    if images.dtype != torch.uint8:
        return images
    if images.device.type == "cpu":
        return images.float().div_(255.0)
    # by a tensor on the device: CUDA multiplies by the reciprocal of a number, which rounds differently
    return images.float().div_(torch.full((), 255.0, device=images.device))


def to_8_bits(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, rounded."""
    return (images * 255).round().to(torch.uint8)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, c, 1, 1) per channel of uint8 images (N, c, h, w), as numbers in [0, 1].

    By counts of the 256 values: exact, and without a copy in float32.
    """
    n_channels, n = images.shape[1], images.numel() // images.shape[1]
    counts = torch.stack([torch.bincount(images[:, c].flatten().int(), minlength=256) for c in range(n_channels)])
    values = torch.arange(256, dtype=torch.float64, device=images.device) / 255.0
    mean = (counts * values).sum(1, keepdim=True) / n
    variance = (counts * (values - mean).square()).sum(1) / (n - 1)
    shape = (1, n_channels, 1, 1)
    return mean.view(shape).float(), variance.sqrt().view(shape).float()
