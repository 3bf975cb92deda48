"""Extractions of a victim that records its queries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, extract
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")


TOP3 = ResponseFormat(3)


CRAFTING = sorted(name for name, attack in ATTACKS.items() if attack.crafts_queries)


class Recorder(Blackbox):
    """A victim that records its queries."""

    def __call__(self, images: Tensor) -> Tensor:
        """Respond, and keep the images."""
        responses = super().__call__(images)
        self.batches: list[Tensor] = [*getattr(self, "batches", []), images.clone()]
        return responses


@dataclass(frozen=True)
class Extraction:
    """The result of one extraction."""

    net: Net
    box: Recorder
    steps: int

    @property
    def queries(self) -> Tensor:
        """All images sent, in order."""
        return torch.cat(self.box.batches)


def extracted(
    victim: Net,
    pool: Tensor,
    attack: str,
    labels: ResponseFormat = LABEL,
    *,
    budget: int = 90,
    rounds: int = 3,
    natural_share: float = 0.5,
    samples_seen: int = 1280,
    width: int = 2,
    seed: int = 0,
) -> Extraction:
    """Extract `victim` with a small substitute of architecture C."""
    net = build("C", (1, 8, 8), 10, width, seed, CPU)
    trainer = Trainer(net, Recipe("adam", 64, samples_seen), torch_rng("steal", seed))
    box = Recorder(victim, budget, labels)
    extract(box, pool, trainer, ATTACKS[attack], rounds=rounds, natural_share=natural_share)
    return Extraction(net, box, trainer.step)


def labels_of(net: Net, images: Tensor) -> Tensor:
    """What a net says."""
    return predict_probabilities(net, images).argmax(1)


class RecordingTrainer(Trainer):
    """A trainer that records its training data."""

    def run(
        self, images: Tensor, targets: Tensor, until: float = 1.0, after_step: Callable[[int], None] | None = None
    ) -> None:
        """Train, and keep images and targets."""
        super().run(images, targets, until, after_step)
        self.data = images, targets
