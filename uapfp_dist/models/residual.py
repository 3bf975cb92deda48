"""A small residual net (He et al., CVPR 2016): of another family than the nets of Table 1, as cheap as they are."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.models.initialisation import initialise
from uapfp_dist.models.net import Net


class Residual(Net):
    """A 3x3 convolution and a 2x2 max-pool; blocks at `width`, twice and four times that; the mean of all places.

    Every block but the first halves the sides.
    """

    small: ClassVar[bool] = True

    def __init__(self, shape: tuple[int, int, int], n_classes: int, width: int) -> None:
        channels = shape[0]
        super().__init__(channels)
        self.stem = nn.Sequential(
            _convolution(channels, width, 3, 1), nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            _Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.last = nn.Linear(4 * width, n_classes)
        initialise(self)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, 4 * width)."""
        return self.blocks(self.stem(normalised)).mean((2, 3))

    def head(self, features: Tensor) -> Tensor:
        """(B, 4 * width) to (B, C) logits."""
        return self.last(features)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(channels, out, 3, stride),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            _convolution(out, out, 3, 1),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels == out
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Sequential(_convolution(channels, out, 1, stride), nn.BatchNorm2d(out))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, out, ceil(h / stride), ceil(w / stride))."""
        return F.relu(self.convolutions(maps) + self.shortcut(maps))


def _convolution(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    """Without a bias: the batch normalisation after it has one."""
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
