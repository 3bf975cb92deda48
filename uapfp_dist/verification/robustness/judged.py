"""Verdicts on modified suspects, each judged alone by its labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from uapfp_dist.evaluation.modified_models import change_of
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.pixels import as_float
from uapfp_dist.response_format import LABEL
from uapfp_dist.serialization import Json, from_json
from uapfp_dist.tasks.members import DERIVED_ROLES, Member
from uapfp_dist.verification.judging.exact import exact_evidence
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.robustness.evasions import EVASIONS

FORMER_WORD = ("questions", "queries")
"""In kinds of files of before, and today's."""
LISTED_ALPHA = 0.05
"""Of kits whose files are a list."""


@dataclass(frozen=True)
class JudgedModel:
    """One suspect of the table."""

    role: str
    kind: str
    """What was done to it."""
    architecture: str
    accuracy: float
    p_values: dict[str, float]
    """Images sent to conformal p."""
    exact: dict[str, float] = field(default_factory=dict)
    """Images sent to p of the exact sibling test; empty where the kit has none."""
    before: float | None = None
    """Accuracy of the model to which it was done; None where a model was made so from the start."""

    @property
    def made_of(self) -> float | None:
        """Accuracy of the model it was made of; None also where that one, too, has changed labels from the start."""
        return None if self.kind.startswith("label ") else self.before

    @property
    def stolen(self) -> bool:
        """Whether it learned from the victim."""
        return self.role in DERIVED_ROLES


@dataclass(frozen=True)
class JudgedSuspects:
    """All suspects of one kit, as they are written to a file."""

    title: str
    """Preset, seed and precision; empty in a file that does not say them."""
    corrected_alpha: float
    """Largest p at which a suspect is accused."""
    judged: list[JudgedModel]


def read_judged(content: Json) -> JudgedSuspects:
    """From a file of `kit-robustness`; of earlier versions it is a list, of a kit whose alpha was .05.

    Raises:
        ValueError: it is none.
    """
    if isinstance(content, list):
        found = JudgedSuspects("", LISTED_ALPHA, from_json(list[JudgedModel], content))
    else:
        found = from_json(JudgedSuspects, content)
    return replace(found, judged=[replace(one, kind=one.kind.replace(*FORMER_WORD)) for one in found.judged])


def judged_model(context: TaskContext, kit: Kit, member: Member) -> JudgedModel:
    """The verdict on the labels of one model, for every number of churn points."""
    spec = member.spec
    labels = LABEL.apply(predict_probabilities(context.net(spec), as_float(kit.images)))
    accuracy = context.store.get("model", spec.id).info["accuracy"]
    return JudgedModel(
        member.role,
        change_of(member),
        spec.architecture,
        accuracy,
        _p_values(kit, spec.id, labels),
        _exact_p(kit, labels),
        context.store.get("model", spec.root.id).info["accuracy"] if spec.modifications else None,
    )


def judged_evasions(context: TaskContext, kit: Kit, member: Member) -> Iterator[JudgedModel]:
    """The verdicts on one model where its owner changes queries or answers; accuracy is what a client gets."""
    spec, net = member.spec, context.net(member.spec)
    dataset, splits = context.data(spec.data)
    images, truth = dataset.pixels(splits.eval), dataset.labels[splits.eval]
    for evasion in EVASIONS:
        answers = evasion.labels(net, as_float(kit.images), f"{spec.id} kit")
        labels = torch.nn.functional.one_hot(answers, kit.n_classes).float()
        accuracy = float((evasion.labels(net, images, f"{spec.id} eval") == truth).double().mean())
        p_values = _p_values(kit, spec.id, labels)
        exact, before = _exact_p(kit, labels), context.store.get("model", spec.id).info["accuracy"]
        yield JudgedModel(member.role, evasion.name, spec.architecture, accuracy, p_values, exact, before)


def _p_values(kit: Kit, name: str, labels: Tensor) -> dict[str, float]:
    """Images sent to conformal p, by (Q, C) one-hot labels."""
    assert kit.churn is not None
    assert kit.input_check is not None
    n_checked = len(kit.input_check.first)
    found = {}
    for n in kit.churn.budgets.tolist():
        (verdict,) = judge(kit, [SuspectResponses(name, labels, LABEL, n_churn_points=n)])
        found[str(n + n_checked)] = verdict.p_value
    return found


def _exact_p(kit: Kit, labels: Tensor) -> dict[str, float]:
    """Images sent to p of the exact test, where the kit has it."""
    found = exact_evidence(kit.exact, labels)
    return {str(found.answered): found.p_value} if found else {}
