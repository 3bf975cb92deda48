"""Models whose makers try to remove what tells a stolen model: specs, nothing is trained here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.evaluation.modified_models import MODIFIED_ROLE, modified
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.label_specs import LabelChange
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.modification_specs import Distill, FineTune, GuessedChurn, ModificationSpec, PgdTraining
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Trained

RELABELLED_ROLE = {Role.PIRACY: Role.RELABELLED_PIRACY, Role.HOMOLOGOUS: Role.RELABELLED_HOMOLOGOUS}


def removal_members(config: RemovalConfig, members: Sequence[Member]) -> Iterator[Member]:
    """Every chosen model after every attack, and made anew with changed labels.

    Args:
        config: which models, and how.
        members: the zoo.
    """
    for role, n in {Role.PIRACY: config.n_piracy, Role.HOMOLOGOUS: config.n_homologous}.items():
        for member in members_of(members, role)[:n]:
            relabelled = [_relabelled(member.spec, change) for change in _label_changes(config)]
            if config.compose and config.label_noise and config.n_guessing:
                relabelled.append(modified(relabelled[0], _guessed(config)))
            yield from (Member(RELABELLED_ROLE[role], spec) for spec in relabelled)
            for attacks in _attacks(config):
                spec = member.spec
                for attack in attacks:
                    spec = modified(spec, attack)
                yield Member(MODIFIED_ROLE[role], spec)


def _label_changes(config: RemovalConfig) -> list[LabelChange]:
    return [
        *(LabelChange(noise=share) for share in config.label_noise),
        *(LabelChange(smoothing=share) for share in config.label_smoothing),
    ]


def _relabelled(of: ModelSpec, change: LabelChange) -> ModelSpec:
    """The same model with changed labels, from a seed of its own; no gate: what they cost is measured."""
    assert isinstance(of.origin, Extracted | Trained)
    seed = int(numpy_rng("relabelled", of.seed, change.noise, change.smoothing).integers(2**31))
    return replace(of, origin=replace(of.origin, label_change=change), seed=seed, gate=None)


def _attacks(config: RemovalConfig) -> Iterator[tuple[ModificationSpec, ...]]:
    """Modifications in a row."""
    pgd: list[ModificationSpec] = [PgdTraining(radius, config.pgd_iterations) for radius in config.pgd_radii]
    fresh: list[ModificationSpec] = [Distill(images="fresh")] if config.fresh_distillation else []
    guessed: list[ModificationSpec] = [_guessed(config)] if config.n_guessing else []
    yield from ((attack,) for attack in (*pgd, *fresh, *guessed))
    if config.compose:
        yield from ((first, second) for first in pgd[:1] for second in fresh)
        yield from ((first, FineTune()) for first in guessed)


def _guessed(config: RemovalConfig) -> GuessedChurn:
    return GuessedChurn(config.guessing_epochs, config.n_guessing)
