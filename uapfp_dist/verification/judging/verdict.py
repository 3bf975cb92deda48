"""The verdict on one suspect."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from torch import Tensor

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.serialization import Number
from uapfp_dist.verification.kit.info import Decider, MethodName
from uapfp_dist.verification.kit.input_check import InputCheckResult

KIT_METHODS: tuple[MethodName, ...] = ("uap", "weighted_errors")
"""Methods of `fingerprints.methods` that a full kit holds, beside those of churn."""

Claim = Literal["piracy", "inconclusive", "cannot decide at this alpha"]
PIRACY: Claim = "piracy"
INCONCLUSIVE: Claim = "inconclusive"
CANNOT_DECIDE: Claim = "cannot decide at this alpha"

GROUPS = ("homologous", "same_data", "other_victim", "sibling")
"""Groups of negatives that a kit can be calibrated against."""

Rate = Annotated[float, Field(ge=0, le=1)]
MeasuredRate = Annotated[Number, WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": 1})]
"""A rate; NaN, in JSON null, where nothing was measured."""
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SuspectResponses:
    """What a suspect responded."""

    name: str
    probabilities: Tensor
    """(Q, C) float32 in the kit's order; rows never queried are NaN; labels are one-hot."""
    format: ResponseFormat
    findings: tuple[str, ...] = ()
    """Why these are not the responses of a trained classifier."""
    fatal: bool = False
    """The findings forbid the claim of piracy."""
    fatal_is_one: bool = True
    """If so it counts as p = 1 among the suspects corrected for; in older transcripts by its p-value."""
    input_check: InputCheckResult | None = None
    """None for a kit that has none, or a suspect that was not fully queried."""
    point_set: int = 0
    """Which set of churn points it was sent."""
    n_churn_points: int | None = None
    """How many of them; None: all."""
    exact: bool = False
    """It was sent the images of the exact test."""


@dataclass(frozen=True)
class RegisterState:
    """The register of the kit when the suspects of a verdict were about to be queried."""

    head: str
    """64 hex digits over all that was in it."""
    looks: int
    """Suspects tested with the kit by then, those of this verdict counted."""


@dataclass(frozen=True)
class ChurnEvidence:
    """What a suspect says where the victim disagrees with its siblings."""

    score: Number
    """By the method that decides."""
    agreed: int
    """Points at which it gives the victim's label."""
    of: int
    """Points that it answered."""
    point_set: int
    """Which set of the kit's points it was sent."""


@dataclass(frozen=True)
class ExactEvidence:
    """Where the victim ranks among its siblings, by what a suspect says where each disagrees with the others."""

    p_value: Rate
    """Exact, whatever the suspect: (1 + siblings at least as high) / (1 + siblings)."""
    siblings: Count
    at_least_as_high: Count
    """Siblings."""
    z: Number
    """How many standard deviations of the siblings' statistics the victim's lies above their mean; NaN without any."""
    answered: Count
    """Images of the test."""
    statistics: tuple[Number, ...]
    """The victim's, then each sibling's."""


@dataclass(frozen=True)
class Conformal:
    """The test that does not claim, where the exact one does."""

    method: MethodName
    p_value: MeasuredRate


@dataclass(frozen=True)
class Caught:
    """Held-out stolen models that are accused."""

    caught: Count
    of: Count


@dataclass(frozen=True)
class SuspectVerdict:
    """What is said of one suspect. There is no claim of innocence."""

    name: str
    claim: Claim
    p_value: Annotated[Rate, Field(description="over models, by the method that decides")]
    """Conformal, the largest over the groups of negatives (protocol 3.1); or of the exact test, where that claims."""
    p_adjusted: Annotated[
        Rate, Field(description="after Holm's correction over the suspects judged together, or n_corrected")
    ]
    alpha: Rate
    """Tolerated rate of false accusation over all of them."""
    decided_by: Decider
    """Fixed at enrolment; `sibling_test` is the exact one."""
    decided_because: str
    similarity: Annotated[Number, Field(description="mean over views of the cosine to the victim")]
    """In [0, 1]; NaN when no view was answered whole."""
    similarity_std: Number
    """Over views."""
    p_value_uap: MeasuredRate
    weighted_errors: Annotated[Number, Field(description="log odds of piracy")]
    """NaN when none was queried."""
    p_value_weighted_errors: MeasuredRate
    p_value_t_test: Annotated[MeasuredRate, Field(description="the paper's statistic: printed, never used")]
    """It takes the views of one model for independent."""
    queries: Annotated[Count, Field(description="images answered")]
    agreement_clean: MeasuredRate
    """Share of unperturbed training images of the victim with its label; NaN when none was queried."""
    power: dict[str, Caught]
    """Held-out stolen models that these images catch at this alpha: `all`, and by `<attack>:<labels>`. Their p are
    corrected for `n_corrected` suspects as this one's is; without churn points each is judged alone."""
    calibration: dict[str, Count]
    """Group of negatives to its number of models."""
    not_calibrated_against: tuple[str, ...]
    findings: Annotated[
        tuple[str, ...], Field(description="why the answers are not, or not quite, those of a trained classifier")
    ]
    limits: tuple[str, ...]
    """What this verdict cannot say, in plain sentences."""
    scores: dict[str, tuple[Number, ...]]
    """For the picture: scores by the method that decides, of calibration models by group and of held-out `piracy`."""
    format: Annotated[str, Field(pattern="^(prob|hard|top[1-9][0-9]*)$")]
    """Wire name of the kit's format by which the responses were judged."""
    input_check: Annotated[
        InputCheckResult | None, Field(description="whether it sees what it was sent: its labels on the first images")
    ] = field(default=None, kw_only=True)
    """None for a kit that has none, or a suspect that was not fully queried."""
    churn: Annotated[
        ChurnEvidence | None, Field(description="its labels where the victim disagrees with its siblings")
    ] = field(default=None, kw_only=True)
    """None for a kit without siblings."""
    exact: Annotated[
        ExactEvidence | None, Field(description="the exact sibling test, which assumes nothing of the suspect")
    ] = field(default=None, kw_only=True)
    """None where it was not asked."""
    conformal: Conformal | None = field(default=None, kw_only=True)
    """None where the conformal test makes the claim."""
    n_corrected: Annotated[
        Count | None, Field(description="suspects that p_adjusted is corrected for, and the p-values behind power")
    ] = field(default=None, kw_only=True)
    """Those of all looks, at least all that the kit was enrolled for; None for a kit without churn points."""
    register: Annotated[
        RegisterState | None,
        Field(description="suspects tested with this kit; n_corrected counts them"),
    ] = field(default=None, kw_only=True)
    """None where no register is kept."""

    @property
    def conformal_method(self) -> MethodName:
        """By which models are scored, whether it makes the claim or not."""
        if self.conformal is not None:
            return self.conformal.method
        assert self.decided_by != "sibling_test"
        return self.decided_by

    @property
    def conformal_p(self) -> float:
        """Likewise."""
        return self.p_value if self.conformal is None else self.conformal.p_value
