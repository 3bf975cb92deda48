"""The five small CNNs of the paper's Table 1. Its numbers [1]..[5] are A..E here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from uapfp_dist.models.activations import Elu, PRelu
from uapfp_dist.models.initialisation import initialise
from uapfp_dist.models.net import Net

DROPOUT = 0.25
"""Table 1 gives no rate."""


@dataclass(frozen=True)
class CnnSpec:
    """One column of Table 1. Optimizer and batch size, which it leaves open, belong to the recipe."""

    activation: Callable[[], nn.Module]
    dropout: bool
    kernel: int
    n_convolutions: int


TABLE_1 = {
    "A": CnnSpec(Elu, False, 3, 2),
    "B": CnnSpec(Elu, False, 5, 3),
    "C": CnnSpec(nn.ReLU, False, 3, 2),
    "D": CnnSpec(PRelu, False, 3, 4),
    "E": CnnSpec(nn.ReLU, True, 5, 2),
}


class Cnn(Net):
    """Convolutions at `width` channels, then at twice that, one 2x2 max-pool after each half; a hidden layer; a head.

    Pooling stands before the activation: the same function for monotone activations, at a quarter of the cost.
    """

    small: ClassVar[bool] = True

    def __init__(self, spec: CnnSpec, shape: tuple[int, int, int], n_classes: int, width: int) -> None:
        channels, height, side = shape
        super().__init__(channels)
        first_half = spec.n_convolutions // 2
        layers: list[nn.Module] = []
        for i in range(spec.n_convolutions):
            out = width if i < first_half else 2 * width
            layers.append(nn.Conv2d(channels, out, spec.kernel, padding=spec.kernel // 2))
            if i + 1 in (first_half, spec.n_convolutions):
                layers.append(nn.MaxPool2d(2))
            layers.append(spec.activation())
            channels = out
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(DROPOUT if spec.dropout else 0.0)
        self.hidden = nn.Linear(channels * (height // 4) * (side // 4), 4 * width)
        self.activation = spec.activation()
        self.last = nn.Linear(4 * width, n_classes)
        initialise(self)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, 4 * width)."""
        maps = self.convolutions(normalised)
        return self.activation(self.hidden(self.dropout(torch.flatten(maps, 1))))

    def head(self, features: Tensor) -> Tensor:
        """(B, 4 * width) to (B, C) logits."""
        return self.last(self.dropout(features))
