"""Fingerprint methods by name. To add one: an object that scores a panel, a line in METHODS."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.science.blackbox import k_of
from uapfp_dist.science.encoder import EncoderConfig, EncoderStack, fit_encoders
from uapfp_dist.science.fingerprint.draws import TrainingSet
from uapfp_dist.science.fingerprint.panel import Panel
from uapfp_dist.science.fingerprint.probe import (
    CLEAN,
    DEEPFOOL,
    IPGUARD,
    LAP_MINIMAL,
    LAP_PAPER,
    NATURAL,
    PAPER,
    RANDOM_PAPER,
    block_name,
)
from uapfp_dist.specs import Format

CHUNK = 2**25
"""Numbers in the fingerprints that are gathered at a time (128 MiB)."""


@dataclass(frozen=True)
class Candidate:
    """One way to run a method: which answers, as probabilities or labels."""

    block: str
    """Or several, joined by `+`: encoders of every block, in the format and the poorer ones, averaged."""
    format: Format

    @property
    def blocks(self) -> tuple[str, ...]:
        """One or several."""
        return tuple(self.block.split("+"))


@dataclass(frozen=True)
class Request:
    """What is to be scored, and what may be learnt from."""

    panel: Panel
    candidate: Candidate
    folds: Sequence[TrainingSet]
    """S training sets; a scorer each."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    seed: str = ""
    """Names the randomness of encoders."""
    memo: dict[tuple[str, Candidate], Tensor] = field(default_factory=dict)
    """Encoders' scores of the same panel, folds and seed, so that rows that share an encoder fit it once."""


class Method(Protocol):
    """Scores models; higher means more like the victim."""

    @property
    def about(self) -> str:
        """One line for tables and reports."""

    @property
    def by_view(self) -> bool:
        """Whether scores stand per test view, or once per model."""

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """What the choice on the training models may choose from."""

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """The blocks whose test views a suspect is sent."""

    def score(self, request: Request) -> Tensor:
        """(S, M, V) scores of all M models of the panel by S scorers, over V views (or 1)."""


@dataclass(frozen=True)
class EncoderMethod:
    """Fingerprints of Eq. 6 through a contrastive encoder; the rows differ in what is added to the points.

    Where perturbations come in several radii, the encoders of all radii, and of the format and the poorer ones, are
    averaged: five training models a side choose a radius hardly better than chance, and encoders of different
    fingerprints err on different models.
    """

    about: str
    perturbation: str
    """`uap`, `random`, `lap`, at every radius offered; else a block."""
    other_victims_too: bool = False
    """Piracy of the training other victim counts as innocent when the encoder learns."""
    by_view: bool = True

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """All radii together, and each alone for small budgets, in every format offered."""
        blocks = _blocks(panel, self.perturbation)
        joint = tuple(Candidate("+".join(blocks), fmt) for fmt in panel.formats)
        return joint if len(blocks) == 1 else (*joint, *self.single(panel))

    def single(self, panel: Panel) -> tuple[Candidate, ...]:
        """One encoder each: every radius, in every format."""
        return tuple(Candidate(block, fmt) for block in _blocks(panel, self.perturbation) for fmt in panel.formats)

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """Clean and perturbed points."""
        return tuple(dict.fromkeys((CLEAN, *candidate.blocks)))

    def score(self, request: Request) -> Tensor:
        """(S, M, V) cosines to the victim's fingerprint of the same view, the mean over encoders."""
        blocks, told_most = request.candidate.blocks, told(request.candidate.format)
        if len(blocks) == 1:
            return self._cosines(request)
        parts = [Candidate(b, fmt) for b in blocks for fmt in request.panel.formats if told(fmt) <= told_most]
        return torch.stack([self._cosines(replace(request, candidate=part)) for part in parts]).mean(0)

    def _cosines(self, request: Request) -> Tensor:
        key = (f"{self.perturbation}/{self.other_victims_too}", request.candidate)
        if key not in request.memo:
            request.memo[key] = similarities(self.fit(request), request.panel, request.candidate)
        return request.memo[key]

    def fit(self, request: Request) -> EncoderStack:
        """The encoders of all folds."""
        block, fmt = request.candidate.block, request.candidate.format
        innocents = [fold.innocent(self.other_victims_too) for fold in request.folds]
        pirates = [(0, *fold.piracy) for fold in request.folds]
        learners = sorted({row for rows in (*pirates, *innocents) for row in rows})
        label = {row: 0 for rows in pirates for row in rows} | {row: 1 for rows in innocents for row in rows}
        return fit_encoders(
            request.panel.fingerprints(learners, block, fmt),
            torch.tensor([label[row] for row in learners]),
            torch.tensor([[row in p or row in i for row in learners] for p, i in zip(pirates, innocents, strict=True)]),
            request.encoder,
            f"{request.seed}/{block}/{fmt}",
        )


def similarities(encoders: EncoderStack, panel: Panel, candidate: Candidate) -> Tensor:
    """(S, M, V) cosines of every model's test fingerprints to the victim's, a few models at a time.

    Raises:
        UserError: fingerprints of another length than the encoders'.
    """

    def prints(rows: Sequence[int]) -> Tensor:
        return panel.fingerprints(rows, candidate.block, candidate.format, panel.n_test_views)

    victim, everyone = prints([0])[0], range(len(panel.members))
    dims = len(encoders.basis)
    if victim.shape[1] != dims:
        raise UserError(
            f"encoder: expected fingerprints of the {dims} numbers it was trained on, got {victim.shape[1]}; transfer "
            "needs equal numbers of points and classes"
        )
    step = max(1, CHUNK // victim.numel())
    chunks = [encoders.similarity(prints(everyone[i : i + step]), victim) for i in everyone[::step]]
    return torch.cat(chunks, dim=1)


def transfer_scores(
    source: Panel, training: TrainingSet, target: Panel, candidate: Candidate, config: EncoderConfig, seed: str
) -> Tensor:
    """(M, V) scores of another panel's models by an encoder trained on `training` of the source panel.

    The panels may be of different data and victims, with equal numbers of points and classes: only then is a
    fingerprint of the one as long as one of the other. `candidate` names a block that both have.

    Raises:
        UserError: fingerprints of different lengths.
    """
    encoders = EncoderMethod("", candidate.block).fit(Request(source, candidate, [training], config, seed))
    return similarities(encoders, target, candidate)[0]


@dataclass(frozen=True)
class MatchingRate:
    """How far a model says what the victim says, without training models: the mean probability of the victim's label.

    For labels this is the share of equal ones.
    """

    about: str
    images: str
    """`uap`, at every radius offered; else a block."""
    by_view: bool = False
    only_labels: bool = False

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every radius offered, in every format offered or in labels alone."""
        formats = ("hard",) if self.only_labels else panel.formats
        return tuple(Candidate(block, fmt) for block in _blocks(panel, self.images) for fmt in formats)

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """No clean points."""
        return (candidate.block,)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) mean per view; the same for every fold."""
        panel, block = request.panel, request.candidate.block
        victims = panel.labels(block)[0]
        matching = panel.per_model(block, request.candidate.format, lambda p: p.gather(1, victims[:, None])[:, 0])
        return matching[:, panel.asked(block)].mean(2).expand(len(request.folds), -1, -1)


@dataclass(frozen=True)
class Confidence:
    """Mean maximum confidence on clean points: never looks at the victim. What it detects is the recipe."""

    about: str = "mean maximum confidence, the victim is not looked at"
    by_view: bool = True

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every format but labels, which have no confidence."""
        return tuple(Candidate(CLEAN, fmt) for fmt in panel.formats if fmt != "hard")

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """The clean points."""
        return (CLEAN,)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) means per view; the same for every fold."""
        confidence = request.panel.per_model(CLEAN, request.candidate.format, lambda p: p.max(1).values)
        return confidence[:, request.panel.asked(CLEAN)].mean(2).expand(len(request.folds), -1, -1)


@dataclass(frozen=True)
class WeightedLabels:
    """Agreement with the victim's labels, image by image, weighted by what the training models say there.

    Labels only, no encoder (protocol 3.3). On natural errors the best images are taken from those that training models
    are asked. On x + v all that the test views hold count: the same answers as `uap` in labels, so that the two tell
    what the encoder adds.
    """

    about: str
    images: str
    """`uap`, at every radius offered; else a block."""
    other_victims_too: bool = False
    by_view: bool = False

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Labels only."""
        return tuple(Candidate(block, "hard") for block in _blocks(panel, self.images))

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """No clean points."""
        return (candidate.block,)

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) log likelihood ratios of piracy against innocence."""
        panel, block = request.panel, request.candidate.block
        labels = panel.labels(block)
        if block != NATURAL:
            labels = labels[:, panel.asked(block).unique()]
        agree, n = labels == labels[:1], panel.images(block)
        scores = [
            weighted_scores(agree, list(fold.piracy), list(fold.innocent(self.other_victims_too)), n)
            for fold in request.folds
        ]
        return torch.stack(scores)[:, :, None]


def weighted_scores(agree: Tensor, piracy: list[int], innocent: list[int], n_images: int) -> Tensor:
    """Naive-Bayes log odds over the `n_images` images that separate the training models best.

    Args:
        agree: (M, E) bool: the model says what the victim says.
        piracy: training rows.
        innocent: training rows.
        n_images: images asked.

    Returns:
        (M,) scores.
    """
    odds, worth = log_odds(agree, piracy, innocent)
    return odds[:, worth.argsort(descending=True, stable=True)[:n_images]].sum(1).float()


def log_odds(agree: Tensor, piracy: list[int], innocent: list[int]) -> tuple[Tensor, Tensor]:
    """What each image says of each model, and how well it separates the training models.

    With a = (agreeing piracy + .5) / (piracy + 1) and b likewise over innocents, a model gains log(a / b) where it
    agrees and log((1 - a) / (1 - b)) where it does not; an image is worth a (1 - b).

    Returns:
        (M, E) float64 log odds and (E,) worth.
    """
    a = (agree[piracy].double().sum(0) + 0.5) / (len(piracy) + 1)
    b = (agree[innocent].double().sum(0) + 0.5) / (len(innocent) + 1)
    return torch.where(agree, (a / b).log(), ((1 - a) / (1 - b)).log()), a * (1 - b)


@dataclass(frozen=True)
class Ensemble:
    """All encoders of several rows, averaged: nothing is chosen."""

    about: str
    rows: tuple[EncoderMethod, ...]
    by_view: bool = True

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """All radii together, and each alone, in every format offered."""
        return self.rows[0].candidates(panel)

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """Clean and perturbed points."""
        return self.rows[0].sent(candidate)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) means over the rows."""
        return torch.stack([row.score(request) for row in self.rows]).mean(0)


def told(fmt: Format) -> float:
    """How many numbers an answer of that format holds: the order of formats by what they give away."""
    return math.inf if fmt == "prob" else 0 if fmt == "hard" else k_of(fmt)


@dataclass(frozen=True)
class SampleCorrelation:
    """SAC-w (Guan et al., NeurIPS 2022): how a model's answers to the victim's errors resemble each other.

    The distance between two models is the mean absolute difference of their matrices of cosines between answers, which
    no permutation of classes changes.
    """

    about: str = "cosines between the answers to the victim's natural errors, compared with the victim's (SAC-w)"
    by_view: bool = False

    def candidates(self, panel: Panel) -> tuple[Candidate, ...]:
        """Every format offered."""
        return tuple(Candidate(NATURAL, fmt) for fmt in panel.formats)

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """Natural errors."""
        return (NATURAL,)

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) minus the distance to the victim, at most 0; the same for every fold."""
        index = request.panel.asked(NATURAL)[0]

        def correlation(answers: Tensor) -> Tensor:
            unit = F.normalize(answers[index], dim=1)
            return unit @ unit.T

        matrices = request.panel.per_model(NATURAL, request.candidate.format, correlation)
        return -(matrices - matrices[:1]).abs().mean((1, 2))[None, :, None].expand(len(request.folds), -1, -1)


def _blocks(panel: Panel, images: str) -> list[str]:
    """The blocks of a kind of perturbation that comes in several radii, or the one of that name."""
    if images in ("uap", "random", "lap"):
        return [block_name(images, fraction) for fraction in panel.fractions]
    return [images]


_UAP = EncoderMethod("UAPs in turn over the views, encoders at every norm averaged", "uap")
_CONTROLS = EncoderMethod("as uap, the encoder also learns other-victim piracy", "uap", True)

METHODS: dict[str, Method] = {
    "uap_paper": EncoderMethod("one UAP of the paper's norm", PAPER),
    "uap_deepfool": EncoderMethod("one UAP of the paper's norm, made by the DeepFool loop", DEEPFOOL),
    "uap": _UAP,
    "uap_controls": _CONTROLS,
    "uap_weighted": WeightedLabels("labels on x + v weighted by the training models, no encoder", "uap"),
    "uap_ensemble": Ensemble("the encoders of uap and uap_controls, averaged", (_UAP, _CONTROLS)),
    "clean": EncoderMethod("clean points only", CLEAN),
    "random": EncoderMethod("random vectors of the UAPs' norm, in turn over the views", "random"),
    "random_paper": EncoderMethod("one random vector of the paper's norm", RANDOM_PAPER),
    "lap": EncoderMethod("local perturbation (DeepFool) at the UAPs' norms", "lap"),
    "lap_paper": EncoderMethod("local perturbation (DeepFool) at the paper's norm", LAP_PAPER),
    "lap_minimal": EncoderMethod("local perturbation (DeepFool) as it comes, to the nearest boundary", LAP_MINIMAL),
    "agreement": MatchingRate("label agreement with the victim on x + v", "uap", by_view=True, only_labels=True),
    "confidence": Confidence(),
    "ipguard": MatchingRate("agreement with the victim on points near its boundary (IPGuard)", IPGUARD),
    "natural_errors": MatchingRate("agreement with the victim on its natural errors (AKH)", NATURAL),
    "sac": SampleCorrelation(),
    "weighted_errors": WeightedLabels("natural errors weighted by the training models", NATURAL),
    "weighted_errors_controls": WeightedLabels("as weighted_errors, also against other-victim piracy", NATURAL, True),
}
