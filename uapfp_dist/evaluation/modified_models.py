"""Which models of the zoo are modified, and how, and what was done to a model, in words. Trains nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from uapfp_dist.config.schema import ModificationConfig
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, ModificationSpec, Prune
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Modified

MODIFIED_ROLE = {
    Role.VICTIM: Role.MODIFIED_VICTIM,
    Role.PIRACY: Role.MODIFIED_PIRACY,
    Role.HOMOLOGOUS: Role.MODIFIED_HOMOLOGOUS,
}

UNCHANGED = "as it is"
"""What was done to a model to which nothing was done."""


def modified_members(
    config: ModificationConfig, members: Sequence[Member], architectures: Sequence[str]
) -> Iterator[Member]:
    """Every chosen model in every modification.

    Args:
        config: which models, and how.
        members: the zoo.
        architectures: of the zoo: a model is never distilled into its own.
    """

    n_modified = {
        Role.VICTIM: int(config.victim),
        Role.PIRACY: config.n_piracy,
        Role.HOMOLOGOUS: config.n_homologous,
    }
    for role, n in n_modified.items():
        for i, member in enumerate(members_of(members, role)[:n]):
            specs = list(_modified(config, member.spec, architectures))
            if i < config.n_adversarial and role != Role.VICTIM:
                specs += _adversarial(config, member.spec)
            yield from (Member(MODIFIED_ROLE[role], spec) for spec in specs)


def modified(of: ModelSpec, modification: ModificationSpec, architecture: str | None = None) -> ModelSpec:
    """`of` after `modification`; no gate: what a modification destroys is reported, not dropped."""
    return replace(of, origin=Modified(of, modification), architecture=architecture or of.architecture, gate=None)


def _modified(config: ModificationConfig, of: ModelSpec, architectures: Sequence[str]) -> Iterator[ModelSpec]:
    for layers in config.fine_tune:
        yield modified(of, FineTune(config.fine_tune_epochs, layers))  # type: ignore[arg-type]
    for share in config.prune:
        yield modified(of, Prune(share))
        if config.recovery_epochs > 0:
            yield modified(of, Prune(share, config.recovery_epochs))
    if config.int8:
        yield modified(of, Int8())
    if config.distill_to is not None:
        others = [name for name in (config.distill_to, *architectures) if name != of.architecture]
        yield from (modified(of, Distill(), name) for name in others[:1])
    if config.compose:
        yield modified(modified(of, Prune(0.4)), FineTune(config.fine_tune_epochs))


def _adversarial(config: ModificationConfig, of: ModelSpec) -> Iterator[ModelSpec]:
    """One chain per kind of labels: every stage goes on from the one before."""
    for labels in config.adversarial_labels:
        spec, done = of, 0
        while done < config.adversarial_iterations:
            step = min(config.adversarial_every, config.adversarial_iterations - done)
            spec = modified(spec, AdversarialTraining(step, done, labels))  # type: ignore[arg-type]
            done += step
            yield spec


def change_of(member: Member) -> str:
    """What was done to a model, in words; tables group by it."""
    spec = member.spec
    changes = spec.modifications
    if changes and isinstance(changes[-1], AdversarialTraining):
        return changes[-1].description
    relabelled = getattr(spec.root.origin, "label_change", None)
    if changes or relabelled:
        return ", ".join(change.description for change in ([relabelled] if relabelled else []) + list(changes))
    if member.role == Role.MIXED_PIRACY:
        assert isinstance(spec.origin, Extracted)
        return f"{spec.origin.true_share:g} of the labels true"
    if member.role == Role.OTHER_ARCHITECTURE:
        return f"{spec.architecture} net"
    return {Role.SECOND_HAND_PIRACY: "stolen at second hand"}.get(member.role, UNCHANGED)
