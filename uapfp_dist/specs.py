"""Specs: tasks as frozen values, addressed by their content.

A spec's `id` is a hash of its value; the artifact under that id is its result. Two runs that want the same thing
therefore find the same file, and that is all there is to resuming.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

SCIENCE_VERSION = 2
"""Part of every id. Raise it when a change of the science must not reuse artifacts of the code before it."""

JUDGING_VERSION = 4
"""Part of the ids of what is made of answers alone. Raise it when methods change: models and answers are kept."""

REPORT_VERSION = 2
"""Part of the ids of reports. Raise it when tables or figures change: everything they are made of is kept."""

Labels = str
"""What a victim's API gives away: `soft` (probabilities), `top3` (the three largest, any number), `hard` (a label)."""

Format = str
"""The same of a suspect: `prob`, `top3`, `hard`. A value outside the top k counts as 0, nothing is renormalised."""


def later(default: Any) -> Any:
    """A field that came after artifacts were made: at its default it is no part of an id, so that those stay valid."""
    return field(default=default, metadata={"later": True})


def counts(item: Field[Any], value: Any) -> bool:
    """Whether a field belongs to the content."""
    return not (item.metadata.get("later") and item.default is not MISSING and value == item.default)


def canonical(value: Any) -> Any:
    """A JSON value that determines `value`; specs inside specs stand as their ids."""
    if isinstance(value, Spec):
        return value.id
    if is_dataclass(value) and not isinstance(value, type):
        body = {f.name: canonical(x) for f in fields(value) if counts(f, x := getattr(value, f.name))}
        return {"type": type(value).__name__, **body}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    return value


def content_id(value: Any) -> str:
    """20 hexadecimal digits that name `value` (80 bits: no collision at any scale this runs at)."""
    text = json.dumps([SCIENCE_VERSION, canonical(value)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Spec:
    """A task. Subclasses are frozen dataclasses and say what must be done before them."""

    kind: ClassVar[str]
    """Names the folder of its artifacts."""
    stage: ClassVar[str]
    """The stage it belongs to, as progress and reports name it."""
    version: ClassVar[int] = 1
    """Raise it when what makes the artifact changes: those of this kind, and of what needs them, are made anew."""

    @cached_property
    def id(self) -> str:
        """Content address: equal specs have equal ids, in every process."""
        mine = fields(self)  # type: ignore[arg-type]
        body = {f.name: canonical(x) for f in mine if counts(f, x := getattr(self, f.name))}
        if self.version > 1:
            body["version"] = self.version
        return content_id({"kind": self.kind, **body})

    @property
    def needs(self) -> tuple[Spec, ...]:
        """Specs whose artifacts this one reads."""
        return ()


@dataclass(frozen=True)
class DataSpec:
    """Which images, cut how. `digest` is that of pixels and labels: other data can never be mistaken for these."""

    name: str
    digest: str
    seed: int
    """Seed of the splits."""
    train_share: float
    """Share of all images that is D, for data without an official test set."""
    outside_shares: tuple[float, float, float]
    """How the images outside D are shared between PROBE, ATTACK and EVAL."""
    n_classes: int | None = later(None)
    """Only the first so many classes; None: all."""
    victim_set: str | None = later(None)
    """Digest of the images that an owner says she trained on, as an artifact of kind `index`; None: half of D."""


@dataclass(frozen=True)
class Recipe:
    """How a net is trained (Table 1: optimizer and batch size)."""

    optimizer: str
    batch_size: int
    samples_seen: int
    """Images shown in all, repetitions counted: the same for piracy and homologous models."""
    augment: bool = later(False)
    """Shift by up to an eighth of the side and mirror, on the device; not for digits, which have a handedness."""


@dataclass(frozen=True)
class Trained:
    """Trained on true labels, on exactly D_v or on a D_homo of the same size."""

    on: Literal["victim_set", "homologous_set"]
    overlap: float | None = None
    """Share of D_homo that comes from D_v; None: whatever a uniform draw from D gives (about one half)."""


@dataclass(frozen=True)
class Extracted:
    """Trained on the answers of a victim (Definition 2 of the paper)."""

    victim: ModelSpec
    attack: str
    labels: Labels
    budget: int
    """Images that may be sent to the victim."""
    rounds: int
    """Rounds of synthetic queries after the natural ones."""
    natural_share: float
    """Share of the budget spent on natural images at the start."""
    overlap: float = later(0.0)
    """Share of the natural queries that are images of D_v itself."""


@dataclass(frozen=True)
class FineTune:
    """Train on the attacker's labelled images, ATTACK."""

    epochs: float = 10.0
    layers: Literal["all", "last", "new_last"] = "all"
    """All; the last layer alone; the last layer alone after new random weights for it."""


@dataclass(frozen=True)
class Prune:
    """Set the smallest weights to zero, by magnitude over the whole net."""

    share: float
    """Share of the weights of convolutions and linear layers that become 0."""
    recovery_epochs: float = 0.0
    """Epochs on ATTACK afterwards, the zeros held."""


@dataclass(frozen=True)
class Int8:
    """Convolutions and linear layers in 8-bit integers, weights per channel; nothing can be trained afterwards."""

    n_images: int = 500
    """Images of ATTACK on which the ranges of the activations are measured."""


@dataclass(frozen=True)
class AdversarialTraining:
    """Steps on 128 DeepFool examples of the current model and 128 clean images (paper Fig. 8 right, protocol 2.14)."""

    iterations: int
    start: int = 0
    """Iterations that `of` has had already: chained, so that every 30th can be looked at without doing all anew."""
    labels: Literal["own", "true"] = "own"
    """The attacker's own model's labels before the attack, or the truth."""
    clip: bool = False
    """Clip the examples to [0, 1]. Nothing makes an attacker do so, and it undoes nearly all of them: of DeepFool's
    examples at its small overshoot hardly any fools the model afterwards."""
    batch_size: int = 128


@dataclass(frozen=True)
class Distill:
    """A net of another architecture learns what the model answers on the attacker's unlabelled images."""

    labels: Labels = "soft"


Change = FineTune | Prune | Int8 | AdversarialTraining | Distill


@dataclass(frozen=True)
class Modified:
    """Another model, changed after the fact to shake the fingerprint off (paper Section 5.4). Changes compose."""

    of: ModelSpec
    change: Change


@dataclass(frozen=True)
class Checkpoint:
    """A model as it stood in the middle of its extraction."""

    trajectory: TrajectorySpec
    recovery: float
    """The first moment at which it had this share of the victim's accuracy."""


@dataclass(frozen=True)
class Imported:
    """Brought by its owner, weights and all; its artifact is put into the store before anything else is done."""

    weights: str
    """SHA-256 of the file of the weights."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel of an image in [0, 1]; None: what the weights hold, else 0."""
    std: tuple[float, ...] | None = None
    """What each channel is then divided by; None: what the weights hold, else 1."""


@dataclass(frozen=True)
class Gate:
    """The least accuracy at which a model enters the zoo: that of `reference` minus `margin` (protocol 3.4)."""

    reference: ModelSpec
    margin: float
    attempts: int
    """How many seeds are tried before the model is reported as failed."""


@dataclass(frozen=True)
class ModelSpec(Spec):
    """One net of the zoo."""

    kind: ClassVar[str] = "model"
    data: DataSpec
    architecture: str
    """A known name, or `package.module:factory` for a net from its owner's own code."""
    width: int
    recipe: Recipe
    origin: Trained | Extracted | Modified | Checkpoint | Imported
    seed: int
    gate: Gate | None = None

    @property
    def needs(self) -> tuple[Spec, ...]:
        """What it is made from and the model whose accuracy gates it."""
        found: list[Spec] = []
        if isinstance(self.origin, Extracted):
            found.append(self.origin.victim)
        elif isinstance(self.origin, Modified):
            found.append(self.origin.of)
        elif isinstance(self.origin, Checkpoint):
            found.append(self.origin.trajectory)
        if self.gate is not None and self.gate.reference not in found:
            found.append(self.gate.reference)
        return tuple(found)

    @property
    def stage(self) -> str:  # type: ignore[override]
        """Modifications are counted apart: they take seconds where training takes minutes."""
        return "modifications" if isinstance(self.origin, Modified) else "zoo"

    @property
    def changes(self) -> tuple[Change, ...]:
        """Modifications since it was trained or extracted, the first one first."""
        return (*self.origin.of.changes, self.origin.change) if isinstance(self.origin, Modified) else ()

    @property
    def root(self) -> ModelSpec:
        """The model that was trained or extracted before any modification."""
        return self.origin.of.root if isinstance(self.origin, Modified) else self

    @property
    def extraction(self) -> Extracted | None:
        """How it was stolen, modified afterwards or not; None if it was not."""
        origin = self.root.origin
        if isinstance(origin, Checkpoint):
            origin = origin.trajectory.model.origin
        return origin if isinstance(origin, Extracted) else None


@dataclass(frozen=True)
class TrajectorySpec(Spec):
    """One extraction, with a checkpoint at the first moment of every recovery rate (paper Fig. 6 right)."""

    kind: ClassVar[str] = "trajectory"
    stage: ClassVar[str] = "zoo"
    model: ModelSpec
    """The extraction, origin `Extracted`."""
    recoveries: tuple[float, ...]
    """Ascending."""
    watched: Literal["drawn"] = "drawn"
    """Images of EVAL on which the rate is watched: drawn from all of them."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim."""
        return self.model.needs


@dataclass(frozen=True)
class UapConfig:
    """How the universal perturbation is made (paper Eq. 3, protocol 2.5-2.7)."""

    algorithm: Literal["sgd", "deepfool"] = "sgd"
    """sgd: projected gradient over the set, the default; deepfool: Moosavi-Dezfooli's loop, batched."""
    xi_grid: tuple[float, ...] = (
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.45,
        0.5,
        0.55,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    )
    """l2 radii to try, ascending, in units of the mean l2 norm of an image."""
    target_fooling: float = 0.8
    """The paper's UAP fools more than this share of held-out images (before clipping)."""
    n_images: int = 2000
    """Images of D_v that the paper's UAP is fitted on."""
    passes: int = 20
    """Passes over those images (per radius)."""
    xi_fractions: tuple[float, ...] = (0.5, 0.7)
    """The radii offered to the choice on the training models, as fractions of the paper's xi."""
    n_uaps: int = 10
    """UAPs at each of those radii, applied to the views in turn: each from a random start, on a quarter of the images,
    in half the passes. One direction asks every model the same question at every point."""
    round_to_8_bits: bool = False
    """Send every image as an API that takes 8-bit images would see it."""
    references: bool = later(True)
    """Also what the UAPs are compared with: random, local, DeepFool's and boundary perturbations."""


@dataclass(frozen=True)
class SubspaceConfig:
    """The UAPs by which Eq. 5 compares models (protocol 2.17)."""

    n_uaps: int = 784
    """UAPs per model."""
    n_images: int = 300
    """Images that each model's UAPs are fitted on, a random half for each UAP."""
    passes: int = 2
    """Passes over them: with more, the UAPs fool hardly more images."""
    xi: float = 0.25
    """Their l2 norm while they are fitted, in units of the mean l2 norm of an image; afterwards they have norm 1."""


@dataclass(frozen=True)
class SubspaceSpec(Spec):
    """The matrix of UAPs of one model."""

    kind: ClassVar[str] = "subspace"
    stage: ClassVar[str] = "subspace"
    model: ModelSpec
    config: SubspaceConfig
    seed: int

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model."""
        return (self.model,)


@dataclass(frozen=True)
class FingerprintConfig:
    """Which images make a fingerprint (paper Sections 4.2, 4.3; protocol 2.8-2.10)."""

    n_points: int = 100
    """Images in one fingerprint (the paper's n)."""
    n_views: int = 200
    """Fingerprints per model when the encoder is trained (the paper's k)."""
    n_test_views: int = 20
    """Fingerprints of a suspect: the first so many views, the same for calibration models and suspects."""
    views: Literal["neighbours", "whole_clusters"] = "neighbours"
    """neighbours: Section 4.3, the points nearest to each cluster's; whole_clusters: Algorithm 1, one point per cluster
    and view, without replacement (refused when a cluster is smaller than n_views)."""
    n_candidates: int | None = later(None)
    """Points are chosen among so many images of D_v, at random; None: among all (long for large nets on a CPU)."""
    representation: Literal["penultimate", "logits"] = "penultimate"
    """The victim's layer in which K-means clusters its training images."""
    n_natural: int = 100
    """Natural errors of the victim (topped up with its lowest margins) that a suspect is asked."""
    max_natural: int = 1000
    """Natural errors that training models are asked, from which the best n_natural are taken."""


@dataclass(frozen=True)
class ProbeSpec(Spec):
    """All that is sent to a model: points, perturbations and natural errors of one victim."""

    kind: ClassVar[str] = "probe"
    stage: ClassVar[str] = "probe"
    version: ClassVar[int] = 2
    victim: ModelSpec
    uap: UapConfig
    fingerprint: FingerprintConfig
    seed: int

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim."""
        return (self.victim,)


@dataclass(frozen=True)
class AnswerSpec(Spec):
    """What one model answers to one probe."""

    kind: ClassVar[str] = "answers"
    stage: ClassVar[str] = "answers"
    model: ModelSpec
    probe: ProbeSpec
    part: Literal["all", "test"] = "all"
    """all: every view, as encoders learn from; test: the views that a suspect is judged by."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the probe."""
        return (self.model, self.probe)
