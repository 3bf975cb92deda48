"""Fingerprint methods by name. To add one: an object that scores a panel, a line in METHODS."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from uapfp_dist.science.encoder import EncoderConfig, fit_encoders
from uapfp_dist.science.fingerprint.draws import TrainingSet
from uapfp_dist.science.fingerprint.panel import CLEAN, Panel
from uapfp_dist.science.fingerprint.probe import PAPER, block_name
from uapfp_dist.specs import Format


@dataclass(frozen=True)
class Candidate:
    """One way to run a method: which answers, as probabilities or labels."""

    block: str
    format: Format


class Method(Protocol):
    """Scores models; higher means more like the victim."""

    @property
    def about(self) -> str:
        """One line for tables and reports."""

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """What the choice on the training models may choose from."""

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, V) scores of all M models of the panel by the scorers of S training sets, over V views."""

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """Unique images a suspect is sent."""


@dataclass(frozen=True)
class EncoderMethod:
    """Fingerprints of Eq. 6 through a contrastive encoder; the rows differ in what is added to the points."""

    about: str
    perturbation: str | None
    """`uap`, `random`, `lap`, at every radius offered; `uap_paper`, at its own; None for clean points only."""
    other_victims_too: bool = False
    """Piracy of the training other victim counts as innocent when the encoder learns."""

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every radius offered, in both formats."""
        formats: tuple[Format, ...] = ("prob", "hard")
        if self.perturbation is None:
            blocks = [CLEAN]
        elif self.perturbation == PAPER:
            blocks = [PAPER]
        else:
            blocks = [block_name(self.perturbation, fraction) for fraction in panel.fractions]
        return tuple(Candidate(block, fmt) for block in blocks for fmt in formats)

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, V) cosines to the victim's fingerprint of the same view."""
        innocents = [f.homologous + (f.other_victim if self.other_victims_too else ()) for f in folds]
        pirates = [(0, *f.piracy) for f in folds]
        learners = sorted({row for rows in (*pirates, *innocents) for row in rows})
        label = {row: 0 for rows in pirates for row in rows} | {row: 1 for rows in innocents for row in rows}
        keep = torch.tensor(
            [[row in p or row in i for row in learners] for p, i in zip(pirates, innocents, strict=True)]
        )
        encoders = fit_encoders(
            panel.fingerprints(learners, candidate.block, candidate.format),
            torch.tensor([label[row] for row in learners]),
            keep,
            config,
            f"{seed}/{candidate.block}/{candidate.format}",
        )
        everyone = range(len(panel.members))
        suspects = panel.fingerprints(everyone, candidate.block, candidate.format, panel.n_test_views)
        return encoders.similarity(suspects, suspects[0])

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """The test views, clean and perturbed."""
        return panel.images(*{CLEAN, candidate.block})


@dataclass(frozen=True)
class Agreement:
    """Share of x + v on which a model says what the victim says: no encoder, no training models."""

    about: str = "label agreement with the victim on x + v"

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every radius offered, labels."""
        return tuple(Candidate(block_name("uap", fraction), "hard") for fraction in panel.fractions)

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, V) agreement per view; the same for every fold."""
        labels = panel.block(candidate.block, "prob").argmax(2)[:, panel.asked(candidate.block)]
        return (labels == labels[:1]).float().mean(2).expand(len(folds), -1, -1)

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """The perturbed points only."""
        return panel.images(candidate.block)


@dataclass(frozen=True)
class Confidence:
    """Mean maximum confidence on clean points: never looks at the victim. What it detects is the recipe."""

    about: str = "mean maximum confidence, the victim is not looked at"

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Probabilities; a label has no confidence."""
        return (Candidate(CLEAN, "prob"),)

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, V) means per view; the same for every fold."""
        confidence = panel.block(CLEAN, "prob").max(2).values[:, panel.asked(CLEAN)]
        return confidence.mean(2).expand(len(folds), -1, -1)

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """The clean points."""
        return panel.images(candidate.block)


@dataclass(frozen=True)
class NaturalErrors:
    """Agreement with the victim on images it gets wrong (AKH of the QuRD study)."""

    about: str = "agreement with the victim on its natural errors (AKH)"

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """The probability of the victim's label, or agreement in label."""
        return (Candidate("natural", "prob"), Candidate("natural", "hard"))

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, 1); the same for every fold."""
        answers = panel.block("natural", candidate.format)[:, : panel.n_natural]
        labels = panel.natural_labels[: panel.n_natural]
        agreement = answers[:, torch.arange(len(labels)), labels].mean(1, keepdim=True)
        return agreement.expand(len(folds), -1, -1)

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """One image each."""
        return min(panel.n_natural, len(panel.natural_labels))


@dataclass(frozen=True)
class WeightedUap:
    """Labels on x + v, weighted by the training models as `weighted_errors` weighs natural errors: no encoder.

    The same answers as `uap` in labels, so that the two tell what the encoder adds.
    """

    about: str = "labels on x + v weighted by the training models, no encoder"

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every radius offered, labels."""
        return tuple(Candidate(block_name("uap", fraction), "hard") for fraction in panel.fractions)

    def score(
        self, panel: Panel, candidate: Candidate, folds: Sequence[TrainingSet], config: EncoderConfig, seed: str
    ) -> Tensor:
        """(S, M, 1) log likelihood ratios of piracy against innocence."""
        labels = panel.block(candidate.block, "prob").argmax(2)[:, torch.unique(panel.asked(candidate.block))]
        agree = labels == labels[:1]
        scores = [weighted_error_scores(agree, list(f.piracy), list(f.homologous), agree.shape[1]) for f in folds]
        return torch.stack(scores)[:, :, None]

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """The perturbed points only."""
        return panel.images(candidate.block)


@dataclass(frozen=True)
class WeightedErrors:
    """Natural errors weighted by what the training models say there, labels only (protocol 3.3)."""

    about: str
    other_victims_too: bool = False

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Labels only."""
        return (Candidate("natural", "hard"),)

    def score(
        self,
        panel: Panel,
        candidate: Candidate,
        folds: Sequence[TrainingSet],
        config: EncoderConfig,
        seed: str,
    ) -> Tensor:
        """(S, M, 1) log likelihood ratios of piracy against innocence."""
        agree = panel.block("natural", "prob").argmax(2) == panel.natural_labels
        scores = []
        for fold in folds:
            innocent = fold.homologous + (fold.other_victim if self.other_victims_too else ())
            scores.append(weighted_error_scores(agree, list(fold.piracy), list(innocent), panel.n_natural))
        return torch.stack(scores)[:, :, None]

    def queries(self, panel: Panel, candidate: Candidate) -> int:
        """One image each."""
        return min(panel.n_natural, len(panel.natural_labels))


def weighted_error_scores(agree: Tensor, piracy: list[int], innocent: list[int], n_images: int) -> Tensor:
    """Naive-Bayes log odds over the `n_images` errors that separate the training models best.

    With a = (agreeing piracy + .5) / (piracy + 1) and b likewise over innocents, the images with the largest a (1 - b)
    are kept; a model gains log(a / b) where it agrees and log((1 - a) / (1 - b)) where it does not.

    Args:
        agree: (M, E) bool: the model says what the victim says.
        piracy: training rows.
        innocent: training rows.
        n_images: images asked.

    Returns:
        (M,) scores.
    """
    a = (agree[piracy].double().sum(0) + 0.5) / (len(piracy) + 1)
    b = (agree[innocent].double().sum(0) + 0.5) / (len(innocent) + 1)
    best = (a * (1 - b)).argsort(descending=True, stable=True)[:n_images]
    gain, loss = (a / b).log()[best], ((1 - a) / (1 - b)).log()[best]
    return torch.where(agree[:, best], gain, loss).sum(1).float()


METHODS: dict[str, Method] = {
    "uap_paper": EncoderMethod("one UAP of the paper's norm", PAPER),
    "uap": EncoderMethod("UAPs in turn over the views, norm and format chosen on training models", "uap"),
    "uap_controls": EncoderMethod("as uap, the encoder also learns other-victim piracy", "uap", True),
    "uap_weighted": WeightedUap(),
    "clean": EncoderMethod("clean points only", None),
    "random": EncoderMethod("random vectors of the UAPs' norm, in turn over the views", "random"),
    "lap": EncoderMethod("local perturbation (DeepFool) at the UAP's norm", "lap"),
    "agreement": Agreement(),
    "confidence": Confidence(),
    "natural_errors": NaturalErrors(),
    "weighted_errors": WeightedErrors("natural errors weighted by the training models"),
    "weighted_errors_controls": WeightedErrors("as weighted_errors, also against other-victim piracy", True),
}
