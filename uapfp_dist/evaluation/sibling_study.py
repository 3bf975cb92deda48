"""What siblings are worth that share the beginning of their training with the victim: churn against their price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig, StudyConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.churn_artifacts import read_churn, read_labels
from uapfp_dist.fingerprints.blocks import CHURN
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.serialization import Number
from uapfp_dist.statistics.auc import auc
from uapfp_dist.statistics.conformal import conformal_p, needed_for
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import ModelSpec

StartKind = Literal["scratch", "checkpoint", "backbone"]


@dataclass(frozen=True)
class SiblingCounts:
    """Models of one victim, and by what they are judged."""

    n_committee: int = 10
    """Siblings that the victim is compared with."""
    n_sibling_piracy: int = 19
    """Further siblings, from each of which one model is stolen: with 19 a claim at .05 can be made."""
    n_stolen: int = 12
    """Models stolen from the victim."""
    n_labels: int = 400
    """Churn points that models are queried with, at most."""
    alpha: float = 0.05
    """Tolerated rate of false accusation."""


@dataclass(frozen=True)
class SiblingPower:
    """Of one victim."""

    start: StartKind
    """What its siblings share with it: nothing, a checkpoint of its training, a backbone."""
    repeated: float
    """Share of the steps of a whole training that each of them makes itself."""
    seed: int
    pool_size: int
    """Images on which they were compared."""
    n_departures: int
    """Of those, churn points."""
    n_labels: int
    """Churn points that models were queried with."""
    auc: Number
    """Of `churn`: models stolen from the victim against models stolen from siblings."""
    n_stolen: int
    n_sibling_piracy: int
    caught: int | None
    """Of the stolen ones, those claimed at alpha by a conformal p-value on the others; None where too few could be
    made."""
    victim_accuracy: Number
    sibling_accuracy: Number
    """Mean over the committee."""
    sibling_seconds: Number
    """To train one, on average."""


def sibling_plan(
    config: Config, counts: SiblingCounts, start: StartKind, repeated: float, seed: int, dataset: Dataset
) -> Plan:
    """The models of one victim whose siblings share its start.

    Args:
        config: data, zoo and extraction as in an enrolment.
        counts: of models.
        start: what is shared.
        repeated: share of the steps that each makes itself.
        seed: of everything.
        dataset: its images.

    Raises:
        UserError: a share outside (0, 1], or too few models.
    """
    if not 0.0 < repeated <= 1.0:
        raise UserError(f"shares: expected shares above 0 and up to 1, got {repeated:g}", argument="shares")
    for name, least in {"n_committee": 2, "n_sibling_piracy": 2, "n_stolen": 2, "n_labels": 1}.items():
        if getattr(counts, name) < least:
            raise UserError(f"{name}: expected at least {least}, got {getattr(counts, name)}", argument=name)
    zoo = config.zoo
    config = replace(
        config,
        zoo=replace(
            zoo,
            architectures=tuple(dict.fromkeys((zoo.victim_architecture, *zoo.architectures))),
            n_piracy=counts.n_stolen,
            n_soft_piracy=0,
            n_homologous=0,
            n_same_data=0,
            n_other_piracy=(),
            cross_other_piracy=False,  # there are none: as in files of before
            n_calibration_piracy=0,
        ),
        siblings=replace(
            config.siblings,
            n_committee=counts.n_committee,
            n_piracy=counts.n_sibling_piracy,
            exact=False,
            repeated=repeated,
            backbone=start == "backbone",
        ),
        churn=replace(config.churn, twins=False),
        modifications=ModificationConfig(),
        studies=StudyConfig(),
        controls=ControlConfig(),
    )
    return make_plan(config, seed, dataset)


def start_of(plan: Plan) -> StartKind:
    """What its siblings share with the victim."""
    siblings = plan.config.siblings
    return "backbone" if siblings.backbone else "scratch" if siblings.repeated == 1.0 else "checkpoint"


def study_specs(plan: Plan) -> list[Spec]:
    """All that is to be made, in an order in which it could be."""
    stolen = [m for m in plan.members if m.role in (Role.PIRACY, Role.SIBLING_PIRACY)]
    return dependency_order([spec for m in stolen if (spec := plan.churn_response(m)) is not None])


def sibling_power(plan: Plan, counts: SiblingCounts, store: Store) -> SiblingPower:
    """What the models in the store show; NaN and 0 where the victim, its committee or churn points are missing."""
    assert plan.churn is not None
    points, asked = None, torch.zeros(0, dtype=torch.int64)
    if store.intact(*plan.churn.artifact):
        points = read_churn(store.get(*plan.churn.artifact))[CHURN]
        candidates = Candidates(points.base, plan.config.churn.per_image)
        asked = candidates.first(torch.arange(len(points.base)), counts.n_labels)
    victim = points.labels[asked] if points else asked
    stolen, from_siblings = (_scores(plan, role, victim, asked, store) for role in (Role.PIRACY, Role.SIBLING_PIRACY))
    decides = len(from_siblings) >= needed_for(counts.alpha) and len(stolen) > 0
    p_values = [conformal_p(score, from_siblings.tolist()) for score in stolen.tolist()]
    committee = plan.churn.siblings
    return SiblingPower(
        start=start_of(plan),
        repeated=plan.config.siblings.repeated,
        seed=plan.seed,
        pool_size=points.pool_size if points else 0,
        n_departures=points.n_departures if points else 0,
        n_labels=len(asked),
        auc=auc(stolen, from_siblings),
        n_stolen=len(stolen),
        n_sibling_piracy=len(from_siblings),
        caught=sum(p <= counts.alpha + 1e-12 for p in p_values) if decides else None,
        victim_accuracy=_mean_of_cards([plan.churn.victim], "accuracy", store),
        sibling_accuracy=_mean_of_cards(committee, "accuracy", store),
        sibling_seconds=_mean_of_cards(committee, "seconds", store),
    )


def _scores(plan: Plan, role: Role, victim: Tensor, asked: Tensor, store: Store) -> Tensor:
    """(M,) float64: at which share of the points `asked` each model of a role, that could be made, says as `victim`."""
    specs = [plan.churn_response(member) for member in members_of(plan.members, role)]
    labels = [
        read_labels(store.get(*spec.artifact))[CHURN][asked]
        for spec in specs
        if spec is not None and store.intact(*spec.artifact)
    ]
    return (torch.stack(labels) == victim).double().mean(1) if labels else torch.zeros(0, dtype=torch.float64)


def _mean_of_cards(models: Sequence[ModelSpec], field: str, store: Store) -> float:
    values = [store.get("model", spec.id).info[field] for spec in models if store.intact("model", spec.id)]
    return sum(values) / len(values) if values else math.nan
