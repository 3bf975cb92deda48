"""Specs: what a task makes, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.hashing import Spec, omit_default, wire_names
from uapfp_dist.tasks.label_specs import LabelChange
from uapfp_dist.tasks.method_configs import FingerprintConfig, SubspaceConfig, UapConfig
from uapfp_dist.tasks.modification_specs import ModificationSpec
from uapfp_dist.tasks.owner_specs import Imported, OwnerTrained
from uapfp_dist.tasks.recipe import Recipe
from uapfp_dist.tasks.run_specs import Continued


@wire_names("DataSpec", "name digest seed train_share outside_shares n_classes victim_set size")
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
    n_classes: int | None = omit_default(None)
    """Only the first so many classes; None: all."""
    victim_set: str | None = omit_default(None)
    """Digest of the images that the owner trained on, as an artifact of kind `index`; None: half of D."""
    size: tuple[int, int] | None = omit_default(None, in_files=False)
    """(height, width) of the images of a folder, where it was asked for; None: as they are, or their median."""


@wire_names("Trained", "on overlap label_change")
@dataclass(frozen=True)
class Trained:
    """Trained on true labels, on exactly D_v or on a D_homo of the same size."""

    on: Literal["victim_set", "homologous_set"]
    overlap: float | None = None
    """Share of D_homo that comes from D_v; None: whatever uniform sampling from D gives (about one half)."""
    label_change: LabelChange | None = omit_default(None, in_files=False)  # noqa: RUF009 frozen
    """What is done to the true labels beforehand."""


@wire_names("AttackPool", "name digest")
@dataclass(frozen=True)
class AttackPool:
    """All images of another data set than the victim's, brought to the shape of the victim's."""

    name: str
    digest: str
    """As of `DataSpec`, before their shape is changed."""


@wire_names(
    "Extracted",
    "victim attack labels budget rounds natural_share overlap true_share label_change jacobian_labels pool",
    labels=lambda labels: labels.extraction_wire,
)
@dataclass(frozen=True)
class Extracted:
    """Trained on the responses of a victim (Definition 2 of the paper)."""

    victim: ModelSpec
    attack: str
    labels: ResponseFormat
    """Format of the victim's responses."""
    budget: int
    """Queries to the victim at most; images with true labels count as if they were sent."""
    rounds: int
    """Rounds of synthetic queries after the natural ones."""
    natural_share: float
    """Share of the budget spent on natural images at the start."""
    overlap: float = omit_default(0.0)
    """Share of the natural queries that are images of D_v itself."""
    true_share: float = omit_default(0.0, in_files=False)
    """Share, below 1, of the natural images that keep their true labels: the victim is not queried for those."""
    label_change: LabelChange | None = omit_default(None, in_files=False)  # noqa: RUF009 frozen
    """What the attacker does to all labels before training on them."""
    jacobian_labels: Literal["victim", "substitute"] = omit_default("substitute", in_files=False)
    """Whose labels Jacobian augmentation follows; of other attacks the default."""
    pool: AttackPool | None = omit_default(None, in_files=False)  # noqa: RUF009 frozen
    """Where the natural images are drawn from; None: D outside the victim's own. Another one needs knockoff, an overlap
    of 0 and a true share of 0."""

    @property
    def attack_name(self) -> str:
        """How it was attacked, for cards and tables: `knockoff`, or `knockoff from fashion_mnist`."""
        return f"{self.attack} from {self.pool.name}" if self.pool else self.attack

    @property
    def labels_name(self) -> str:
        """What its images are labelled with, for cards and tables, such as `hard` or `hard, .5 true`."""
        true = f", {self.true_share:g} true".replace("0.", ".") if self.true_share else ""
        change = f", {self.label_change.description}" if self.label_change else ""
        return f"{self.labels.extraction_wire}{true}{change}"


@wire_names("Modified", "of change")
@dataclass(frozen=True)
class Modified:
    """Another model, modified to evade detection (paper Section 5.4). Modifications compose."""

    of: ModelSpec
    modification: ModificationSpec


@wire_names("Checkpoint", "trajectory recovery")
@dataclass(frozen=True)
class Checkpoint:
    """A model as it stood in the middle of its extraction."""

    trajectory: TrajectorySpec
    recovery: float
    """The first moment at which it had this share of the victim's accuracy."""


@wire_names("Gate", "reference margin attempts")
@dataclass(frozen=True)
class Gate:
    """The least accuracy at which a model enters the zoo: that of `reference` minus `margin` (protocol 3.4)."""

    reference: ModelSpec
    margin: float
    attempts: int
    """How many seeds are tried before the model is reported as failed."""


@wire_names("AbsoluteGate", "accuracy attempts")
@dataclass(frozen=True)
class AbsoluteGate:
    """The least accuracy of a sibling, fixed beforehand: it binds the victim and all its siblings alike."""

    accuracy: float
    attempts: int
    """How many seeds are tried before the sibling is reported as failed."""


def reaches(accuracy: float, least: float) -> bool:
    """Whether an accuracy is at least its gate's: both in [0, 1].

    Shares of images are float32, so that equal ones differ by some 1e-8 after a subtraction: a model exactly at its
    gate is in. One image of a million is 1e-6.
    """
    return accuracy > least - 1e-6


@wire_names("model", "data architecture width recipe origin seed gate source")
@dataclass(frozen=True)
class ModelSpec(Spec):
    """One net of the zoo."""

    data: DataSpec
    architecture: str
    """A known name, or `package.module:factory` for a net from its owner's own code."""
    width: int
    recipe: Recipe
    origin: Trained | Extracted | Modified | Checkpoint | Imported | OwnerTrained | Continued
    seed: int
    gate: Gate | AbsoluteGate | None = None
    source: str = omit_default("", in_files=False, printed=False)
    """SHA-256 of the file of an owner's factory: other code makes another net. Empty for a known name."""

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
        elif isinstance(self.origin, Continued):
            found.append(self.origin.start)
        if isinstance(self.gate, Gate) and self.gate.reference not in found:
            found.append(self.gate.reference)
        return tuple(found)

    @property
    def stage(self) -> str:  # type: ignore[override]
        """Modifications are counted apart: they take seconds where training takes minutes."""
        return "modifications" if isinstance(self.origin, Modified) else "zoo"

    @property
    def modifications(self) -> tuple[ModificationSpec, ...]:
        """Modifications since it was trained or extracted, the first one first."""
        return (*self.origin.of.modifications, self.origin.modification) if isinstance(self.origin, Modified) else ()

    @property
    def root(self) -> ModelSpec:
        """The model that was trained or extracted before any modification."""
        return self.origin.of.root if isinstance(self.origin, Modified) else self

    @property
    def extraction(self) -> Extracted | None:
        """How it was extracted, modified afterwards or not; None if it was not."""
        origin = self.root.origin
        if isinstance(origin, Checkpoint):
            origin = origin.trajectory.model.origin
        return origin if isinstance(origin, Extracted) else None


@wire_names("trajectory", "model recoveries watched")
@dataclass(frozen=True)
class TrajectorySpec(Spec):
    """One extraction, with a checkpoint at the first moment of every recovery rate (paper Fig. 6 right)."""

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


@wire_names("subspace", "model config seed")
@dataclass(frozen=True)
class SubspaceSpec(Spec):
    """The matrix of UAPs of one model."""

    stage: ClassVar[str] = "subspace"
    model: ModelSpec
    config: SubspaceConfig
    seed: int

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model."""
        return (self.model,)


@wire_names("probe", "victim uap fingerprint seed")
@dataclass(frozen=True)
class ProbeSpec(Spec):
    """The queries of a fingerprint: points, perturbations and natural errors of one victim."""

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


@wire_names("answers", "model probe part")
@dataclass(frozen=True)
class ResponseSpec(Spec):
    """The responses of one model to one probe."""

    stage: ClassVar[str] = "answers"
    model: ModelSpec
    probe: ProbeSpec | ProbeTwinSpec
    part: Literal["all", "test"] = "all"
    """all: every view, as encoders are trained on; test: the views that a suspect is judged by."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the probe."""
        return (self.model, self.probe)


@wire_names("probe_twin", "probe")
@dataclass(frozen=True)
class ProbeTwinSpec(Spec):
    """A probe on points of PROBE, which no model trained on, moved by the UAPs and random vectors of `probe`."""

    stage: ClassVar[str] = "probe"
    probe: ProbeSpec

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim, and the probe whose perturbations it takes."""
        return (self.probe.victim, self.probe)
