"""What the exact sibling test of a kit takes beside its other models, as specs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import model_seed
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.pool_specs import PoolLabelsSpec, PoolSpec
from uapfp_dist.tasks.specs import Extracted, Gate, Imported, ModelSpec
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.reference_models import ReferenceModel

INDEPENDENT = ("homologous", "same_data")
"""Groups whose models no player had a part in."""
FEWEST_INDEPENDENT = 10
"""With fewer, a mean says little."""
N_SPARE = 2
"""Siblings that stand in for those that do not reach their gate."""


@dataclass(frozen=True)
class ExactPlan:
    """P players, and T models stolen from each, alike for all."""

    pool: PoolSpec
    players: tuple[ModelSpec, ...]
    """The victim, then its siblings, some to spare."""
    stolen: tuple[tuple[ModelSpec, ...], ...]
    """By player; the victim's are training models of the kit."""
    measured_stolen: tuple[ModelSpec, ...]
    """Held-out stolen models of the kit: how many are caught."""
    independent: tuple[ModelSpec, ...] = ()
    """Training models of the kit that are derived from no player; none, or enough to centre scores by."""
    measured_independent: tuple[ModelSpec, ...] = ()
    """Held-out ones of those groups: how many are accused."""

    def labels(self, model: ModelSpec) -> PoolLabelsSpec:
        """What a model says to the pool."""
        return PoolLabelsSpec(model, self.pool)

    @property
    def specs(self) -> list[Spec]:
        """Everything to perform."""
        models = [*self.players, *(model for each in self.stolen for model in each)]
        models += [*self.measured_stolen, *self.independent, *self.measured_independent]
        return [self.labels(model) for model in models]


def plan_exact(
    victim: ModelSpec,
    siblings: Sequence[ModelSpec],
    models: Sequence[ReferenceModel],
    requirements: EnrollConfig,
    churn: ChurnConfig,
    seed: int,
) -> ExactPlan | None:
    """The players of the exact test; None where none is wanted.

    Raises:
        UserError: too few siblings, or too few stolen models to learn from.
    """
    if requirements.exact == "none":
        return None
    n = requirements.n_exact_siblings
    siblings = [*siblings, *_more(siblings, n + N_SPARE - len(siblings), seed)]
    if len(siblings) < n:
        raise UserError(
            f"exact: expected at least {n} siblings of the victim for alpha {requirements.alpha:g} and "
            f"{requirements.max_suspects} suspects, this kit has {len(siblings)}; bring more, or a training function",
            argument="exact",
        )
    players = (victim, *siblings[: n + N_SPARE])
    stolen = [one for one in models if one.group == "piracy"]
    independent = [one.member.spec for one in models if one.group in INDEPENDENT and one.part == "training"]
    thefts = _thefts([one for one in stolen if one.part == "training"], requirements)
    return ExactPlan(
        PoolSpec(victim.data, churn, seed),
        players,
        tuple(
            tuple(_from(theft, player, i, t, seed) for t, theft in enumerate(thefts))
            for i, player in enumerate(players)
        ),
        tuple(one.member.spec for one in stolen if one.part == "held_out"),
        tuple(independent) if len(independent) >= FEWEST_INDEPENDENT else (),
        tuple(one.member.spec for one in models if one.group in INDEPENDENT and one.part == "held_out"),
    )


def _more(siblings: Sequence[ModelSpec], n: int, seed: int) -> list[ModelSpec]:
    """Further siblings that no other part of a kit takes; files that an owner trained are as many as they are."""
    if n <= 0 or not siblings or isinstance(siblings[0].origin, Imported):
        return []
    return [replace(siblings[0], seed=model_seed(seed, "exact sibling", i)) for i in range(n)]


def _thefts(training: Sequence[ReferenceModel], requirements: EnrollConfig) -> list[ModelSpec]:
    """How the models are stolen from every player: as the first training models of the kit, each variant in turn."""
    n = requirements.n_exact_stolen if requirements.size == "full" else 0
    by_variant: list[Iterator[ModelSpec]] = [
        iter([one.member.spec for one in training if one.extraction_variant == variant])
        for variant in requirements.extraction_variants
    ]
    found: list[ModelSpec] = []
    while len(found) < n:
        taken = [spec for variant in by_variant if (spec := next(variant, None)) is not None]
        if not taken:
            raise UserError(
                f"n_exact_stolen: expected at most {len(found)}, the training models of the kit that were stolen from "
                f"the victim, got {n}; lower it, or raise n_train_piracy",
                argument="n_exact_stolen",
            )
        found += taken[: n - len(found)]
    return found


def _from(theft: ModelSpec, player: ModelSpec, number: int, slot: int, seed: int) -> ModelSpec:
    """The same theft from another player, gated by that player's accuracy."""
    if number == 0:
        return theft
    origin, gate = theft.origin, theft.gate
    assert isinstance(origin, Extracted)
    if isinstance(gate, Gate):
        gate = replace(gate, reference=player)
    return replace(
        theft, origin=replace(origin, victim=player), gate=gate, seed=model_seed(seed, f"exact {slot}", number)
    )
