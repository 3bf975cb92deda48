"""All that is to be made for one kit, as specs."""

from dataclasses import dataclass
from functools import cached_property

from uapfp_dist.config.schema import Config
from uapfp_dist.config.siblings import SiblingConfig
from uapfp_dist.data import Dataset
from uapfp_dist.data.jpeg import check_jpeg
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import Spec, content_id
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import AbsoluteGate, Imported, ModelSpec, ProbeSpec, ResponseSpec
from uapfp_dist.verification.enrollment.config import EnrollConfig, check_enroll_config
from uapfp_dist.verification.enrollment.derived_config import check_derived, with_model_counts
from uapfp_dist.verification.enrollment.exact_plan import ExactPlan, plan_exact
from uapfp_dist.verification.enrollment.owner_victim import OwnerVictim, achievable
from uapfp_dist.verification.enrollment.reference_models import ReferenceModel, assign_reference_models

MAX_NATURAL = 10**6
"""Natural errors that models may be queried with."""


@dataclass(frozen=True)
class EnrollmentPlan:
    """All that is to be made for one kit."""

    config: Config
    """With the numbers of models that `requirements` take."""
    requirements: EnrollConfig
    seed: int
    victim: ModelSpec
    reference_models: tuple[ReferenceModel, ...]
    """Those held out of each group in a random order: the first so many calibrate."""
    probe: ProbeSpec
    churn: ChurnSpec | None = None
    """Where the victim disagrees with its siblings; None without any."""
    exact: ExactPlan | None = None
    """The exact sibling test; None without one."""
    seed_is_private: bool = False
    """The seed is shown nowhere: whoever knows it can make the siblings. No part of the id."""

    @property
    def id(self) -> str:
        """Content address."""
        own = {"siblings": self.siblings} if isinstance(self.victim.origin, Imported) and self.churn else {}
        return content_id(
            {"wanted": self.requirements, "config": self.config, "seed": self.seed, "victim": self.victim, **own}
        )

    def response(self, model: ReferenceModel) -> ResponseSpec:
        """Training models respond to every view, the others to what a suspect is queried with."""
        return ResponseSpec(model.member.spec, self.probe, "all" if model.part == "training" else "test")

    @property
    def victim_response(self) -> ResponseSpec:
        """The victim's responses to every view."""
        return ResponseSpec(self.victim, self.probe)

    def churn_response(self, model: ModelSpec) -> ChurnResponseSpec | None:
        """The labels of a model on churn points, where there are any."""
        return ChurnResponseSpec(model, self.churn) if self.churn else None

    def responses(self, model: ReferenceModel) -> list[Spec]:
        """All that a reference model is queried with."""
        churn = self.churn_response(model.member.spec)
        return [self.response(model), *([churn] if churn else [])]

    @cached_property
    def specs(self) -> list[Spec]:
        """Everything to perform, in an order in which it could be."""
        responses = [response for model in self.reference_models for response in self.responses(model)]
        exact = self.exact.specs if self.exact else []
        return dependency_order([self.victim_response, *([self.churn] if self.churn else []), *responses, *exact])

    @property
    def siblings(self) -> list[ModelSpec]:
        """Those of the committee, then those from each of which a model is stolen."""
        return [spec for spec in self.models if isinstance(spec.gate, AbsoluteGate)]

    @property
    def models(self) -> list[ModelSpec]:
        """Every model, the victim and other victims counted."""
        return [spec for spec in self.specs if isinstance(spec, ModelSpec)]


def plan_enrollment(
    config: Config, requirements: EnrollConfig, seed: int, dataset: Dataset, owner_victim: OwnerVictim | None = None
) -> EnrollmentPlan:
    """The models, probe and responses for one kit; every random choice follows from the seed.

    Args:
        config: data, zoo, extraction, UAP, fingerprint and encoder as in an evaluation; numbers of models are set here.
        requirements: what the kit must decide.
        seed: of everything.
        dataset: its images.
        owner_victim: the owner's model; None trains the victim of `config`.

    Raises:
        UserError: unknown names, impossible numbers.
    """
    check_enroll_config(requirements)
    _check_config(config, requirements, dataset, owner_victim)
    requirements = achievable(requirements, owner_victim)
    config = with_model_counts(config, requirements, _victim_share(config, dataset, owner_victim))
    check_derived(config)
    members = make_plan(config, seed, dataset).members
    owned = owner_victim.in_place_of(members) if owner_victim else list(members)
    victim = owned[0].spec
    models = assign_reference_models(owned, requirements, config.extraction, seed)
    siblings = [m.spec for m in members_of(owned, Role.SIBLING)]
    committee = tuple(siblings[: requirements.n_committee])
    return EnrollmentPlan(
        config,
        requirements,
        seed,
        victim,
        models,
        ProbeSpec(victim, config.uap, config.fingerprint, seed),
        ChurnSpec(victim, committee, config.churn, seed) if committee else None,
        plan_exact(victim, siblings, models, requirements, config.churn, seed),
    )


def _check_config(
    config: Config, requirements: EnrollConfig, dataset: Dataset, owner_victim: OwnerVictim | None
) -> None:
    """Accept what enrolments read alone, and images that a kit can name.

    Raises:
        UserError: a field that would change nothing, or that is given elsewhere; names of classes; too many errors.
    """
    check_jpeg(requirements.jpeg_quality, dataset.shape[0])
    if config.uap.jpeg_quality is not None or config.churn.jpeg_quality is not None:
        raise UserError(
            "jpeg_quality: expected one for all images of a kit, got one of uap or churn; give jpeg_quality alone",
            argument="jpeg_quality",
        )
    if config.extraction.knockoff_pool is not None:
        raise UserError(
            "extraction.knockoff_pool: expected none with an enrolment, whose attackers all send images of the "
            f"victim's kind, got {config.extraction.knockoff_pool}; leave it out: an evaluation takes one",
            argument="extraction.knockoff_pool",
        )
    for name in ("repeated", "backbone") if owner_victim is not None else ():
        if (value := getattr(config.siblings, name)) != getattr(SiblingConfig(), name):
            raise UserError(
                f"siblings.{name}: expected nothing with a model of your own, whose siblings you train, got {value}; "
                "leave it out",
                argument=f"siblings.{name}",
            )
    if odd := [name for name in dataset.class_names if not name.isprintable()]:
        raise UserError(f"data: expected names of classes that can be printed, got {ascii(odd[0])[:60]}; rename it")
    if config.fingerprint.max_natural > MAX_NATURAL:
        raise UserError(
            f"fingerprint.max_natural: expected at most {MAX_NATURAL:,}, got {config.fingerprint.max_natural:,}",
            argument="fingerprint.max_natural",
        )
    most = config.fingerprint.max_natural
    if requirements.n_errors > most and requirements.n_errors != EnrollConfig().n_errors:
        raise UserError(
            f"n_errors: expected at most fingerprint.max_natural, {most}, from which they are chosen, got "
            f"{requirements.n_errors}; lower it, or raise fingerprint.max_natural",
            argument="n_errors",
        )


def _victim_share(config: Config, dataset: Dataset, owner_victim: OwnerVictim | None) -> float:
    """Images that the owner trained on, of the half of D that epochs and budget are multiples of."""
    if owner_victim is None or not owner_victim.n_images:
        return 1.0
    n_d = dataset.n_train if dataset.n_train is not None else int(len(dataset.labels) * config.data.train_share)
    return owner_victim.n_images / (n_d // 2)
