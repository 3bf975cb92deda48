"""What an attacker may do between a query and its response, without changing the model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.io import decode_jpeg, encode_jpeg
from torchvision.transforms.functional import gaussian_blur

from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits
from uapfp_dist.rng import torch_rng

QUALITY = 75
"""Of JPEG, from 1 to 100."""
SIGMA = 0.7
"""Of the blur, in pixels."""


@dataclass(frozen=True)
class Evasion:
    """A change of every query, and of some responses."""

    name: str
    change: Callable[[Tensor], Tensor] | None = None
    """(B, c, h, w) images in [0, 1] to what the model sees; None: as they are."""
    random_share: float = 0.0
    """Share of the responses that are replaced by a random class."""
    decimals: int | None = None
    """Of the probabilities that are answered; None: all. Of equal ones the first class counts."""

    def labels(self, model: nn.Module, images: Tensor, seed: str) -> Tensor:
        """(N,) int64 answers of `model` to (N, c, h, w) images in [0, 1], as a client gets them.

        Args:
            seed: names the randomness of this client's queries.
        """
        seen = images if self.change is None else self.change(images)
        probabilities = predict_probabilities(model, seen)
        if self.decimals is not None:
            probabilities = probabilities.round(decimals=self.decimals)
        labels, rng = probabilities.argmax(1), torch_rng(seed, self.name)
        anything = torch.randint(probabilities.shape[1], labels.shape, generator=rng)
        return torch.where(torch.rand(len(labels), generator=rng) < self.random_share, anything, labels)


def blurred(images: Tensor) -> Tensor:
    """By a Gaussian of `SIGMA` pixels."""
    return gaussian_blur(images, [3, 3], [SIGMA, SIGMA])


def mirrored(images: Tensor) -> Tensor:
    """Left to right."""
    return images.flip(3)


def compressed(images: Tensor) -> Tensor:
    """As JPEG of `QUALITY` and back."""
    return as_float(torch.stack([decode_jpeg(encode_jpeg(image, QUALITY)) for image in to_8_bits(images)]))


EVASIONS = (
    Evasion(f"queries as JPEG {QUALITY}", compressed),
    Evasion(f"queries blurred, sigma {SIGMA:g}", blurred),
    Evasion("queries mirrored", mirrored),
    Evasion("answers rounded to 0.1", decimals=1),
    Evasion("0.01 of the answers random", random_share=0.01),
    Evasion("0.05 of the answers random", random_share=0.05),
)
"""Rounded confidences hardly are one: the kit reads labels alone, and rounding changes those of ties."""
