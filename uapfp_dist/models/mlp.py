"""A multilayer perceptron: a net without convolutions, which knows of no neighbouring pixels."""

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from uapfp_dist.models.initialisation import initialise
from uapfp_dist.models.net import Net


class Mlp(Net):
    """Three hidden layers on the pixels, with batch normalisation: two of 16 * `width` units, one of 4 * `width`."""

    small: ClassVar[bool] = True

    def __init__(self, shape: tuple[int, int, int], n_classes: int, width: int) -> None:
        super().__init__(shape[0])
        sizes = (math.prod(shape), 16 * width, 16 * width, 4 * width)
        layers: list[nn.Module] = []
        for given, units in pairwise(sizes):
            layers += [nn.Linear(given, units), nn.BatchNorm1d(units), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(sizes[-1], n_classes)
        initialise(self)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, 4 * width)."""
        return self.hidden(torch.flatten(normalised, 1))

    def head(self, features: Tensor) -> Tensor:
        """(B, 4 * width) to (B, C) logits."""
        return self.last(features)
