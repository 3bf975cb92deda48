"""Every modification, the nets that are modified, and what is compared of them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.data import Dataset, Splits
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
    Distill,
    FineTune,
    GuessedChurn,
    Int8,
    ModificationSpec,
    PgdTraining,
    Prune,
)
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe("adam", 64, 6400)

EXAMPLES: list[ModificationSpec] = [
    FineTune(2.0),
    FineTune(2.0, "last"),
    FineTune(2.0, "new_last"),
    Prune(0.4),
    Prune(0.4, recovery_epochs=2.0),
    Int8(n_images=50),
    AdversarialTraining(3, labels="own", batch_size=16),
    AdversarialTraining(3, labels="true", batch_size=16),
    Distill(),
    Distill(LABEL),
    Distill(ResponseFormat(3)),
    Distill(images="fresh"),
    PgdTraining(0.05, iterations=3, steps=2, batch_size=16),
    GuessedChurn(2.0),
]


class Normed(Net):
    """A small net with BatchNorm, a grouped convolution without bias, and dropout."""

    def __init__(self, channels: int = 1, n_classes: int = 10) -> None:
        super().__init__(channels)
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(8 * 16, n_classes)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, 8, 8) to (B, 128)."""
        return self.dropout(F.relu(self.norm(self.grouped(F.relu(self.stem(normalised))))).flatten(1))

    def head(self, features: Tensor) -> Tensor:
        """(B, 128) to (B, C)."""
        return self.last(features)


def trained(name: str, digits: Dataset, splits: Splits, own: Tensor) -> Net:
    """A few epochs of digits."""
    net = build(name, (1, 8, 8), 10, 4, 0, CPU)
    net.normalise_by(own)
    fit(net, own, digits.labels[splits.d_v], Recipe("adam", 64, 6 * len(own)), torch_rng("order"))
    return net


def student() -> Net:
    """A fresh net of another architecture."""
    return build("C", (1, 8, 8), 10, 4, 5, CPU)


def siblings() -> list[Net]:
    """Fresh nets: they agree on nothing, so that a model disagrees with them somewhere."""
    return [build("B", (1, 8, 8), 10, 4, i, CPU) for i in range(3)]


def modified(
    net: Net, modification: ModificationSpec, data: AttackerData, seed: int = 0, recipe: Recipe = RECIPE, **more: Any
) -> Net:
    """`modify` with a student and chance by `seed`."""
    return modify(net, modification, data, recipe, torch_rng(seed), student(), siblings=siblings(), **more)


def state(net: nn.Module) -> dict[str, Tensor]:
    """A copy of all that a net holds."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(net: Net, images: Tensor, labels: Tensor) -> float:
    """Share of right responses."""
    return float((predict_probabilities(net, images).argmax(1) == labels).double().mean())
