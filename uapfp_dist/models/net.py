"""The base class of all classifiers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from uapfp_dist.pixels import channel_statistics


class Net(nn.Module, ABC):
    """A classifier of images in [0, 1], with normalisation inside and access to its penultimate features."""

    mean: Tensor
    std: Tensor
    last: nn.Linear
    """The layer that gives the logits."""
    queries: int = 0
    """Images that its victim was sent, where it was extracted by `uapfp_dist.extract`."""
    rate_scale: ClassVar[Mapping[str, float]] = {}
    """Factors on the learning rates of training.PEAK_RATES, by optimizer; 1 where it is not named."""

    small: ClassVar[bool] = False
    """A training step takes a GPU less time than the host takes to launch it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    def normalise_by(self, images: Tensor) -> None:
        """Set mean and standard deviation per channel to those of `images` (B, c, h, w) in [0, 1], or uint8."""
        if images.dtype == torch.uint8:
            mean, std = channel_statistics(images)
            self.mean.copy_(mean)
            self.std.copy_(std.clamp_min(1e-3))
            return
        dims = (0, 2, 3)
        self.mean.copy_(images.mean(dims, keepdim=True))
        self.std.copy_(images.std(dims, keepdim=True).clamp_min(1e-3))

    def published_key(self, key: str) -> str:
        """How the library that the net is from calls a tensor of the state_dict; the same, where it is from none."""
        return key

    @abstractmethod
    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) normalised images to (B, F) penultimate features."""

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """(B, F) to (B, C) logits."""

    def features(self, images: Tensor) -> Tensor:
        """(B, c, h, w) in [0, 1] to (B, F) penultimate features."""
        return self.body((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """(B, c, h, w) in [0, 1] to (B, C) logits."""
        return self.head(self.features(images))
