"""The nouns that pass between the parts: specs (tasks, addressed by their content) and what comes of them.

A spec is a frozen value; its `id` is a hash of that value; the artifact under that id is its result. Two runs that
want the same thing therefore find the same file, and that is all there is to resuming.

Letters in shapes: B batch, C classes, P points, Q images sent, n points per fingerprint, V views, D = 2 n C.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from torch import Tensor

SCIENCE_VERSION = 1
"""Part of every id. Raise it when a change of the science must not reuse artifacts of the code before it."""

Labels = Literal["hard", "soft"]
Format = Literal["prob", "hard"]


def canonical(value: Any) -> Any:
    """A JSON value that determines `value`; specs inside specs stand as their ids."""
    if isinstance(value, Spec):
        return value.id
    if is_dataclass(value) and not isinstance(value, type):
        body = {f.name: canonical(getattr(value, f.name)) for f in fields(value)}
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

    @cached_property
    def id(self) -> str:
        """Content address: equal specs have equal ids, in every process."""
        body = {f.name: canonical(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
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


@dataclass(frozen=True)
class Recipe:
    """How a net is trained (Table 1: optimizer and batch size)."""

    optimizer: str
    batch_size: int
    samples_seen: int
    """Images shown in all, repetitions counted: the same for piracy and homologous models."""


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
    stage: ClassVar[str] = "zoo"
    data: DataSpec
    architecture: str
    width: int
    recipe: Recipe
    origin: Trained | Extracted
    seed: int
    gate: Gate | None = None

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim it is extracted from and the model whose accuracy gates it."""
        found: list[Spec] = []
        if isinstance(self.origin, Extracted):
            found.append(self.origin.victim)
        if self.gate is not None and self.gate.reference not in found:
            found.append(self.gate.reference)
        return tuple(found)


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
    """Send x + v as an API that takes 8-bit images would see it."""


@dataclass(frozen=True)
class FingerprintConfig:
    """Which images make a fingerprint (paper Sections 4.2, 4.3; protocol 2.8-2.10)."""

    n_points: int = 100
    """Images in one fingerprint (the paper's n)."""
    n_views: int = 200
    """Fingerprints per model when the encoder is trained (the paper's k)."""
    n_test_views: int = 20
    """Fingerprints of a suspect: the first so many views, the same for calibration models and suspects."""
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

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the probe."""
        return (self.model, self.probe)


@dataclass(frozen=True)
class ModelCard:
    """What is known of a trained model, measured on EVAL."""

    id: str
    architecture: str
    optimizer: str
    batch_size: int
    origin: str
    """`trained:<set>` or `<attack>:<labels>`."""
    seed: int
    accuracy: float
    recovery: float | None
    """Accuracy over the accuracy of the victim it was extracted from (protocol 2.4)."""
    agreement: float | None
    """Share of EVAL on which it says what the victim it was extracted from says."""
    queries: int
    """Images sent to that victim."""
    attempt: int
    steps: int
    train_digest: str
    """Digest of the indices of its natural training images."""
    seconds: float
    device: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Block:
    """One kind of perturbation of the points: S images to send, and where each view finds its answers."""

    perturbations: Tensor
    """(K, c, h, w): K universal ones, or one for each point."""
    point: Tensor
    """(S,) int64: the point of each image sent."""
    which: Tensor
    """(S,) int64: the perturbation added to it."""
    gather: Tensor
    """(V, n) int64 into the S answers."""


@dataclass(frozen=True)
class Probe:
    """What a suspect is sent, and how fingerprints are gathered from its answers."""

    points: Tensor
    """(P, c, h, w) in [0, 1]: the unique images of all views, sent as block `clean`."""
    views: Tensor
    """(V, n) int64 into `points`; column i is cluster i."""
    blocks: dict[str, Block]
    """By name, e.g. `uap@0.5`."""
    natural: Tensor
    """(E, c, h, w) PROBE images: natural errors first, then lowest margins."""
    natural_labels: Tensor
    """(E,) the victim's (mostly wrong) label."""
    info: dict[str, Any]
    """xi, norms, fooling rates, counts, seconds."""


@dataclass(frozen=True)
class Answers:
    """Probabilities only. Past this point no code can look at a suspect's weights: the threat model as a type."""

    blocks: dict[str, Tensor]
    """Block name to (Q, C): `clean`, `natural` and one per perturbation."""


@dataclass(frozen=True)
class Member:
    """A model's place in the evaluation."""

    role: str
    spec: ModelSpec

    @property
    def group_of_victim(self) -> str:
        """For extracted models the id of whom they were stolen from, else an empty string."""
        origin = self.spec.origin
        return origin.victim.id if isinstance(origin, Extracted) else ""


ROLES = {
    "victim": "the owner's model",
    "other_victim": "another owner's model, homologous to the victim, from which others steal",
    "piracy": "stolen from the victim, hard labels",
    "soft_piracy": "stolen from the victim, soft labels",
    "homologous": "trained on a set of its own that overlaps with the victim's",
    "same_data": "trained on exactly the victim's set, with another seed",
    "other_victim_piracy": "stolen from another victim",
}
PIRATES = ("piracy", "soft_piracy")
INNOCENTS = ("homologous", "same_data", "other_victim_piracy")


@dataclass(frozen=True)
class Done:
    """A spec's artifact is in the store."""

    spec: Spec
    seconds: float
    worker: str
    reused: bool = False


@dataclass(frozen=True)
class Failed:
    """A spec that could not be done, or that needed one that could not."""

    spec: Spec
    error: str
    lost: bool = False
    """True when it was never tried because something it needs failed."""


Outcome = Done | Failed


@dataclass(frozen=True)
class Verdict:
    """What is said of one model. There is no claim of innocence."""

    model: str
    role: str
    architecture: str
    optimizer: str
    attack: str
    similarity: float
    """Mean over views of the cosine to the victim (draw 0, chosen xi and format)."""
    similarity_std: float
    p_value: float
    """Conformal, over models: the largest over the groups of innocents that are large enough."""
    p_value_t_test: float
    """The paper's statistic: mean p of 30 two-sample t-tests over 20 fingerprints."""
    claim: Literal["piracy", "inconclusive", "cannot decide at this alpha"]
    queries: int
    accuracy: float
    weighted_errors: float
    """The second verdict's score (log likelihood ratio)."""
    weighted_errors_p: float
    weighted_errors_claim: str
    not_calibrated_against: tuple[str, ...] = field(default_factory=tuple)
