"""What a kit says of itself: the JSON beside its tensors.

Keys of the JSON are the fields' names or aliases; a field that is None is left out. The JSON is part of the digest.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, StrictFloat

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.probe_data import UapSet
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.serialization import Json
from uapfp_dist.verification.kit.separation import Separation

MethodName = Literal["uap", "weighted_errors", "churn", "weighted_churn"]
Decider = Literal[MethodName, "sibling_test"]
"""What may make a claim."""


def parse_wire(wire: str) -> ResponseFormat:
    """The format of that wire name. Aliases are refused: two names of one format would be one part of a kit.

    Raises:
        ValueError: another name.
    """
    try:
        fmt = ResponseFormat.parse(wire)
    except UserError:
        fmt = None
    if fmt is None or fmt.wire != wire:
        raise ValueError(f"an unknown format {wire!r:.60}")
    return fmt


WireFormat = Annotated[
    ResponseFormat,
    BeforeValidator(parse_wire),
    PlainSerializer(lambda fmt: fmt.wire, return_type=str),
]
"""A format under its wire name."""


Configuration = dict[str, dict[str, Json]]
"""Section to the values of its fields, under wire names."""


class Accused(NamedTuple):
    """Models that were accused, and of how many."""

    n: int
    of: int


Rates = dict[str, Accused]
"""Kind of model to how many were accused: `all`; `<attack>:<labels>`, or the group of negatives."""

RatesByMethod = dict[WireFormat, dict[MethodName, Rates]]


@dataclass(frozen=True)
class KitModel:
    """A model that calibrates the kit or measures its rates."""

    group: str
    """`piracy`, or a group of negatives."""
    part: Literal["calibration", "test"]
    attack: str
    """By which it was stolen; empty if it was not."""
    labels: str
    """What its victim gave away; empty likewise."""
    architecture: str
    optimizer: str
    model: str
    """Id of its artifact."""


@dataclass(frozen=True)
class MethodChoice:
    """The method that decides in one format."""

    method: MethodName
    why: str
    training: dict[MethodName, Separation] | None = None
    """How well each method separated training models that were left out."""
    variants: Annotated[dict[MethodName, str] | None, Field(alias="ways")] = None
    """What cross-validation chose inside each method."""


@dataclass(frozen=True)
class KitData:
    """The data set that the kit was made on."""

    name: str
    digest: str
    note: str


@dataclass(frozen=True)
class KitVictim:
    """What the victim's card says that a kit may tell."""

    architecture: str
    imported: bool
    accuracy: float


@dataclass(frozen=True)
class KitCosts:
    """What the enrolment took, wherever and whenever that was."""

    models: int
    failed: int
    model_seconds: float


@dataclass(frozen=True)
class ChurnRates:
    """Held-out models accused by the points of one set, each judged alone at `KitInfo.rates_level`."""

    point_set: int
    n_points: int
    """Churn points sent."""
    power: Rates
    false_accusations: Rates


@dataclass(frozen=True)
class KitChurn:
    """Where the churn points of a kit come from."""

    siblings: int
    """With which the victim was compared."""
    gate: float
    """Least accuracy of the victim and of every sibling."""
    pool_size: int
    """Images on which they were compared."""
    departures: int
    """Of those, to how many few siblings give the victim's label."""
    images: int
    """Images of PROBE that those were made of."""
    rates: tuple[ChurnRates, ...] = ()
    """By set and budget."""


@dataclass(frozen=True)
class KitExact:
    """The exact sibling test of a kit."""

    claims: bool
    """It makes the claim, and the conformal test none."""
    siblings: int
    """With which it ranks the victim."""
    stolen_each: int
    """Models stolen from each of them and from the victim, from which its weights are learned."""
    images: int
    """That a suspect is sent for it."""
    pool_size: int
    """Images among which those were chosen."""
    weights_sha256: tuple[str, ...]
    """Of the siblings: the kit commits its owner to them."""
    power: Accused | None = None
    """Held-out stolen models that it claims, each judged alone at `KitInfo.rates_level`."""
    rotated: Accused | None = None
    """The same with every player in the victim's place: models stolen from it, of a theft from which nothing was
    learned."""
    accused: Accused | None = None
    """Held-out independent models that it claims, those trained on the victim's images among them."""


@dataclass(frozen=True)
class KitInfo:
    """What a kit says of itself; a verdict needs the first four fields alone."""

    alpha: StrictFloat
    """Tolerated rate of false accusation that its groups are large enough for."""
    decided_by: dict[WireFormat, MethodChoice]
    models: tuple[KitModel, ...]
    """In the order of the rows of `agrees` and `similarity`."""
    limits: tuple[str, ...]
    """What the kit does not cover, in plain sentences."""
    max_suspects: int | None = None
    """Suspects that it was enrolled to judge together."""
    training: dict[str, int] | None = None
    """Group to the number of models that trained the scorers."""
    uap: dict[str, UapSet] | None = None
    """Fraction of the paper's norm to its UAPs."""
    data: KitData | None = None
    victim: KitVictim | None = None
    costs: KitCosts | None = None
    configuration: Configuration | None = None
    """As of the version that made the kit."""
    seed: int | None = None
    enrollment: str | None = None
    """Id of the plan."""
    torch: str | None = None
    """Version that scored the models."""
    natural_errors: int | None = None
    """Images of `natural` that are errors of the victim."""
    power: RatesByMethod | None = None
    """Held-out stolen models accused, each judged alone at `rates_level`."""
    false_accusations: RatesByMethod | None = None
    """Held-out negatives accused, likewise."""
    rates_level: StrictFloat | None = None
    """Largest p at which its rates count a model as accused: alpha over the suspects that each p is corrected for.
    None: alpha."""
    queries: dict[WireFormat, int] | None = None
    """Images that a suspect is sent."""
    churn: KitChurn | None = None
    """None in kits of versions 1 and 2."""
    exact: KitExact | None = None
    """None in a kit without an exact test."""
    jpeg_quality: int | None = None
    """Of its JPEG files; None in a kit of exact pixels."""
