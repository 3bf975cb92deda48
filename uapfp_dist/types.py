"""The nouns that pass between the parts, beside the specs: what comes of a task, and who a model is.

Letters in shapes: B batch, C classes, P points, Q images sent, n points per fingerprint, V views, D = 2 n C.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import Tensor

from uapfp_dist.specs import ModelSpec, Spec


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
    changes: tuple[str, ...] = ()
    """Modifications after training or extraction."""
    accuracy_before: float | None = None
    """Of the model that was modified."""

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
        """For extracted models, modified or not, the id of whom they were stolen from, else an empty string."""
        extraction = self.spec.extraction
        return extraction.victim.id if extraction else ""


ROLES = {
    "victim": "the owner's model",
    "other_victim": "another owner's model, homologous to the victim, from which others steal",
    "piracy": "stolen from the victim, hard labels",
    "soft_piracy": "stolen from the victim, soft labels",
    "homologous": "trained on a set of its own that overlaps with the victim's",
    "same_data": "trained on exactly the victim's set, with another seed",
    "other_victim_piracy": "stolen from another victim",
    "calibration_piracy": "stolen from one further other victim each: calibrates against piracy of other victims",
    "checkpoint_piracy": "stolen from the victim, as it stood at a recovery rate",
    "overlap_homologous": "trained on a set that shares a chosen part of the victim's",
    "modified_victim": "the victim, modified",
    "modified_piracy": "stolen from the victim, then modified",
    "modified_homologous": "homologous, then modified",
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
    details: str = ""
    """The last lines of the traceback, where there is one."""
    transient: bool = False
    """True where another try may do: storage that did not answer, memory that others held."""
    broken: bool = False
    """True where the worker is of no more use: after an error of CUDA, every later call to the GPU fails there."""


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
    """By `uap`, whatever decides: mean over views of the cosine to the victim, norms averaged, the format chosen."""
    similarity_std: float
    """Over the views of `uap`."""
    decided_by: str
    """The method that p-value and claim rest on."""
    score: float
    """By that method; it is the similarity where `uap` decides."""
    p_value: float
    """Conformal, over models, of `score`: the largest over the groups of innocents that are large enough."""
    p_value_t_test: float
    """The paper's statistic, on `uap`: mean p of 30 two-sample t-tests over 20 fingerprints."""
    claim: Literal["piracy", "inconclusive", "cannot decide at this alpha"]
    """By `p_value`."""
    queries: int
    """Images sent for `uap`."""
    accuracy: float
    weighted_errors: float
    """The second verdict's score (log likelihood ratio)."""
    weighted_errors_p: float
    """Conformal, of that score."""
    weighted_errors_claim: str
    """By that p-value."""
    not_calibrated_against: tuple[str, ...] = field(default_factory=tuple)
