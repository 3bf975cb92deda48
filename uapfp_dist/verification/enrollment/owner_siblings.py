"""Siblings that an owner trained: their files, and that each is another model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import import_model
from uapfp_dist.execution.owner_weights import read_weights
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import AbsoluteGate, Imported, ModelSpec, OwnerTrained, reaches
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class SiblingFile:
    """The weights of a sibling that the owner trained, in a file."""

    path: Path
    sha256: str
    """Of the file."""


def read_siblings(folder: Path) -> tuple[SiblingFile, ...]:
    """The safetensors files in `folder`, by name.

    Raises:
        UserError: no folder, none in it, a file that cannot be read, or the same one twice.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX)
    except OSError as error:
        raise UserError(f"siblings: expected a folder at {folder} ({error.strerror})", argument="siblings") from error
    if not paths:
        raise UserError(
            f"siblings: expected {SUFFIX} files in {folder}, found none; save the state_dict of each sibling there",
            argument="siblings",
        )
    files = tuple(SiblingFile(path, _read(path)[1]) for path in paths)
    first = {file.sha256: file for file in reversed(files)}
    if twice := next((file for file in files if first[file.sha256] != file), None):
        raise _same_weights(twice.path.name, first[twice.sha256].path.name)
    return files


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        return read_weights(path)
    except UserError as error:
        raise UserError(f"siblings: {path.name}: {error}", argument="siblings") from error


def import_siblings(
    files: tuple[SiblingFile, ...], context: TaskContext, plan: EnrollmentPlan, *, ignore_surplus: bool
) -> None:
    """Put the siblings of a plan into the store, once its victim is there.

    Args:
        files: those that the plan was made with.
        context: where.
        plan: of origin `Imported`, victim and siblings alike.
        ignore_surplus: leave out tensors that the architecture does not have.

    Raises:
        UserError: a file that has changed, of another architecture, below the gate; the same weights twice.
    """
    distinct = DistinctWeights(context.store, plan)
    distinct.check(plan.victim)
    by_digest = {file.sha256: file for file in files}
    for spec in plan.siblings:
        assert isinstance(spec.origin, Imported)
        file = by_digest[spec.origin.weights]
        weights, digest = _read(file.path)
        if digest != file.sha256:
            raise UserError(f"siblings: expected {file.path.name} as it was, it has changed", argument="siblings")
        try:
            accuracy = import_model(context, spec, weights, ignore_surplus=ignore_surplus).accuracy
        except UserError as error:
            raise UserError(f"siblings: {file.path.name}: {error}", argument="siblings") from error
        try:
            check_gate(plan, accuracy, file.path.name)
            distinct.check(spec, file.path.name)
        except UserError:
            context.store.discard(*spec.artifact)
            raise


def check_gate(plan: EnrollmentPlan, accuracy: float, whose: str = "") -> None:
    """Accept the accuracy of the owner's victim or of a sibling: one gate, fixed beforehand, binds them all.

    Args:
        plan: with the gate.
        accuracy: on images held out, in [0, 1].
        whose: name of the sibling's file; empty: the victim's.

    Raises:
        UserError: it is below.
    """
    gates = [sibling.gate for sibling in plan.siblings]
    least = max((gate.accuracy for gate in gates if isinstance(gate, AbsoluteGate)), default=0.0)
    if not reaches(accuracy, least):
        # A victim that is read wrongly is below it, too, and a lower gate would enrol what it is not.
        read = "check data.size, mean, std and the order of classes; if this is its accuracy, lower the gate"
        raise UserError(
            f"siblings.gate: expected an accuracy of at least {least:g} on images held out, which binds the victim and "
            f"its siblings alike, got {accuracy:.4f} of {whose or 'the victim'}; "
            f"{'lower it' if whose else read}",
            argument="siblings.gate",
            options=() if whose else ("data.size", "mean", "std"),
        )


class DistinctWeights:
    """Watches that no two of the victim and its siblings have the same weights: then they are one run.

    Args:
        store: their artifacts.
        plan: those of an owner's; of others nothing is checked.
    """

    def __init__(self, store: Store, plan: EnrollmentPlan) -> None:
        self._store, self._victim = store, plan.victim
        owned = isinstance(plan.victim.origin, Imported) and plan.churn
        self._watched = {spec.id for spec in (plan.victim, *plan.siblings)} if owned else set()
        self._found: dict[str, tuple[ModelSpec, str]] = {}

    def check(self, spec: ModelSpec, name: str = "") -> None:
        """Accept a model that is in the store.

        Args:
            spec: of any kind; those that are neither the victim nor its siblings are passed over.
            name: of its file, if it has one.

        Raises:
            UserError: another has its weights; siblings of a function are removed, so that they are trained again.
        """
        if spec.id not in self._watched:
            return
        digest = weights_digest(self._store.get(*spec.artifact).tensors)
        other, others_name = self._found.setdefault(digest, (spec, name))
        if (other, others_name) == (spec, name):
            return
        is_victims = self._victim in (spec, other)
        trained = [each for each in (spec, other) if isinstance(each.origin, OwnerTrained)]
        for each in trained:
            self._store.discard(*each.artifact)
        if trained:
            whose = "the victim and a sibling" if is_victims else "two siblings"
            raise UserError(
                f"train {getattr(trained[0].origin, 'function', '')}: expected other weights from every seed, {whose} "
                "have the same; have it use its seed",
                argument="train",
            )
        whose = "the victim" if is_victims else others_name
        raise _same_weights(name or others_name, whose)


def _same_weights(name: str, whose: str) -> UserError:
    return UserError(
        f"siblings: expected other weights in every file, {name} has those of {whose}; take it out of the folder",
        argument="siblings",
    )


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and numbers of a model's weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
