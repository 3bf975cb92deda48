"""Modifications of a model, as frozen values (paper Section 5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uapfp_dist.response_format import PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.hashing import omit_default, wire_names


@wire_names("FineTune", "epochs layers")
@dataclass(frozen=True)
class FineTune:
    """Train on the attacker's labelled images, ATTACK."""

    epochs: float = 10.0
    layers: Literal["all", "last", "new_last"] = "all"
    """All; the last layer alone; the last layer alone after new random weights for it."""

    @property
    def description(self) -> str:
        """A short name for tables."""
        return {"all": "fine-tune", "last": "fine-tune last layer", "new_last": "fine-tune new last layer"}[self.layers]


@wire_names("Prune", "share recovery_epochs")
@dataclass(frozen=True)
class Prune:
    """Set the smallest weights to zero, by magnitude over the whole net."""

    share: float
    """Share of the weights of convolutions and linear layers that become 0."""
    recovery_epochs: float = 0.0
    """Epochs on ATTACK afterwards, the zeros held."""

    @property
    def description(self) -> str:
        """A short name for tables, such as `prune .4 + recovery`."""
        return f"prune {self.share:g}".replace("0.", ".") + (" + recovery" if self.recovery_epochs else "")


@wire_names("Int8", "n_images")
@dataclass(frozen=True)
class Int8:
    """Convolutions and linear layers in 8-bit integers, weights per channel; nothing can be trained afterwards."""

    n_images: int = 500
    """Images of ATTACK on which the ranges of the activations are measured."""

    @property
    def description(self) -> str:
        """A short name for tables."""
        return "INT8"


@wire_names("AdversarialTraining", "iterations start labels clip batch_size")
@dataclass(frozen=True)
class AdversarialTraining:
    """Steps on 128 DeepFool examples of the current model and 128 clean images (paper Fig. 8 right, protocol 2.14)."""

    iterations: int
    start: int = 0
    """Iterations that `of` has had already: a chain, in which every 30th iteration is a model."""
    labels: Literal["own", "true"] = "own"
    """The attacker's own model's labels before the attack, or the truth."""
    clip: bool = False
    """Clip the examples to [0, 1]. Nothing makes an attacker do so, and it undoes nearly all of them: of DeepFool's
    examples at its small overshoot hardly any fools the model afterwards."""
    batch_size: int = 128

    @property
    def description(self) -> str:
        """A short name for tables."""
        return f"adversarial training {self.start + self.iterations} ({self.labels} labels)"


@wire_names("PgdTraining", "radius iterations steps batch_size")
@dataclass(frozen=True)
class PgdTraining:
    """Steps on 128 PGD examples of the current model and 128 clean images, by the model's own labels beforehand."""

    radius: float
    """Largest change of a pixel, of pixels in [0, 1]."""
    iterations: int = 300
    """Steps of training."""
    steps: int = 5
    """Steps of PGD for each."""
    batch_size: int = 128

    @property
    def description(self) -> str:
        """A short name for tables, such as `PGD training .02`."""
        return f"PGD training {self.radius:g}".replace(" 0.", " .")


@wire_names("GuessedChurn", "epochs n_siblings n_images")
@dataclass(frozen=True)
class GuessedChurn:
    """Fine-tune on guessed churn points: images on which models of the attacker's own recipe, trained on the very
    labels that this one was, agree on another label than it gives."""

    epochs: float = 10.0
    n_siblings: int = 4
    """Models that the attacker trains to guess with."""
    n_images: int = 10_000
    """The attacker's images, under small random geometry, among which points are looked for."""

    @property
    def description(self) -> str:
        """A short name for tables."""
        return "guessed churn"


@wire_names("Distill", "labels images", labels=lambda labels: labels.extraction_wire)
@dataclass(frozen=True)
class Distill:
    """A net of another architecture is trained on the model's responses to the attacker's unlabelled images."""

    labels: ResponseFormat = PROBABILITIES
    """Format of the model's responses that the student is trained on."""
    images: Literal["pool", "fresh"] = omit_default("pool", in_files=False)
    """pool: those outside D_v. fresh: those that the model was not trained on, and its attacker's others changed by
    small random geometry, up to as many as it was trained on."""

    @property
    def description(self) -> str:
        """A short name for tables."""
        fresh = " on fresh images" if self.images == "fresh" else ""
        labels = "" if self.labels == PROBABILITIES else f" ({self.labels.extraction_wire} labels)"
        return f"distillation{fresh}{labels}"


ModificationSpec = FineTune | Prune | Int8 | AdversarialTraining | Distill | PgdTraining | GuessedChurn
