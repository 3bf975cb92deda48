"""Resamples: random partitions of the zoo into models that train, calibrate and are tested (protocol 2.12, 3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from uapfp_dist.errors import UserError
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.hashing import omit_default, wire_names
from uapfp_dist.tasks.members import CONTROL_ROLES, MODIFIED_ROLES, NEGATIVE_ROLES, STOLEN_ROLES, Member, Role

SIBLING_SHARE = 0.4
"""Of the models stolen from siblings: these train, the others are tested."""


@wire_names("TrainingSet", "piracy homologous other_victim sibling")
@dataclass(frozen=True)
class TrainingSet:
    """Rows of the models that one scorer may learn from."""

    piracy: tuple[int, ...]
    homologous: tuple[int, ...]
    other_victim: tuple[int, ...] = ()
    """Piracy of one other victim: seen when formats are chosen, and by methods that take it as negatives."""
    sibling: tuple[int, ...] = omit_default(())
    """Sibling piracy: negatives of weighted_churn, and of no other method that is compared."""

    def negatives(self, other_victims_too: bool) -> tuple[int, ...]:
        """The negatives of a scorer."""
        return self.homologous + (self.other_victim if other_victims_too else ())

    def without(self, out: "TrainingSet") -> "TrainingSet":
        """All but the rows of `out`."""
        return TrainingSet(
            *(
                tuple(row for row in rows if row not in gone)
                for rows, gone in zip(self._groups, out._groups, strict=True)
            )
        )

    @property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        return self.piracy, self.homologous, self.other_victim, self.sibling


@wire_names("Draw", "index training calibration test calibration_piracy")
@dataclass(frozen=True)
class Resample:
    """One partition of the zoo, in rows of a response matrix."""

    index: int
    training: TrainingSet
    calibration: tuple[int, ...]
    """Homologous models that train nothing and are not tested."""
    test: tuple[int, ...]
    calibration_piracy: tuple[int, ...] = ()
    """Models stolen from one further other victim each: they calibrate against piracy of other victims."""

    def tested(self, members: Sequence[Member], *roles: str) -> list[int]:
        """Test rows with one of `roles`."""
        return [row for row in self.test if members[row].role in roles]


def make_resample(
    members: Sequence[Member],
    index: int,
    n_train: int,
    n_calibrate: int,
    seed: str,
    only_architecture: str | None = None,
    train_pool: int | None = None,
) -> Resample:
    """Partition `members` at random, stratified by architecture and optimizer.

    All piracy of one other victim, drawn at random, goes to training; that of the others is tested: negatives from one
    other victim must generalise to a victim never seen. A modified model is tested where the model it was made from is.

    Args:
        members: the victim first.
        only_architecture: the 5 + 5 training models are of this one (as in the paper, protocol 2.12).
        train_pool: only the first so many piracy and the first so many homologous models among `members` may train: the
            others were queried with the test views only.

    Raises:
        UserError: too few models for these sizes.
    """
    rng = numpy_rng(seed, "draw", index)
    piracy, homologous = _rows(members, Role.PIRACY), _rows(members, Role.HOMOLOGOUS)
    if len(piracy) <= n_train or len(homologous) <= n_train:
        raise UserError(
            f"expected more than n_train = {n_train} stolen and independent models, got {len(piracy)} and "
            f"{len(homologous)} (failed ones not counted); raise the numbers of models or lower n_train"
        )
    n_calibrate = min(n_calibrate, len(homologous) - n_train - 1)
    eligible = [
        [row for row in rows[:train_pool] if only_architecture in (None, members[row].spec.architecture)]
        for rows in (piracy, homologous)
    ]
    if min(map(len, eligible)) < n_train:
        raise UserError(
            f"expected n_train = {n_train} stolen and independent models that may train (architecture "
            f"{only_architecture or 'any'}, first {train_pool or 'all'} of each), got {len(eligible[0])} and "
            f"{len(eligible[1])}; raise the numbers of models or lower n_train"
        )
    train_piracy, train_homologous = (stratified(rows, members, n_train, rng) for rows in eligible)
    rest = [row for row in homologous if row not in train_homologous]
    calibration = stratified(rest, members, n_calibrate, rng)
    other_piracy = _rows(members, Role.OTHER_VICTIM_PIRACY)
    others = sorted({members[row].stolen_from for row in other_piracy})
    seen = others[rng.integers(len(others))] if len(others) > 1 else None
    train_other = [row for row in other_piracy if members[row].stolen_from == seen]
    sibling_piracy = _rows(members, Role.SIBLING_PIRACY)
    train_sibling = stratified(sibling_piracy, members, int(len(sibling_piracy) * SIBLING_SHARE), rng)
    used = {*train_piracy, *train_homologous, *calibration, *train_other, *train_sibling}
    suspects = [row for row in _rows(members, *STOLEN_ROLES, *NEGATIVE_ROLES) if row not in used]
    bases = {members[row].spec.id for row in (0, *suspects)}
    trained = {members[row].spec.id for row in train_piracy}
    suspects += [row for row in _rows(members, *CONTROL_ROLES) if members[row].stolen_from not in trained]
    suspects += [row for row in _rows(members, *MODIFIED_ROLES) if members[row].spec.root.id in bases]
    training = TrainingSet(*map(tuple, (train_piracy, train_homologous, train_other, train_sibling)))
    calibration_piracy = _rows(members, Role.CALIBRATION_PIRACY)
    return Resample(index, training, tuple(calibration), tuple(sorted(suspects)), tuple(calibration_piracy))


def _rows(members: Sequence[Member], *roles: str) -> list[int]:
    return [row for row, member in enumerate(members) if member.role in roles]


def stratified(rows: Sequence[int], members: Sequence[Member], n: int, rng: np.random.Generator) -> list[int]:
    """`n` of `rows`, as evenly as possible over (architecture, optimizer), architectures first."""

    def deal(pool: list[int], key: Callable[[int], str]) -> list[list[int]]:
        groups: dict[str, list[int]] = {}
        for row in pool:
            groups.setdefault(key(row), []).append(row)
        return [groups[name] for name in rng.permutation(sorted(groups))]

    def interleave(groups: list[list[int]]) -> list[int]:
        longest = max(map(len, groups), default=0)
        return [group[i] for i in range(longest) for group in groups if i < len(group)]

    shuffled = [int(row) for row in rng.permutation(np.asarray(rows, dtype=np.int64))]
    by_architecture = [
        interleave(deal(group, lambda row: members[row].spec.recipe.optimizer))
        for group in deal(shuffled, lambda row: members[row].spec.architecture)
    ]
    return sorted(interleave(by_architecture)[:n])


def leave_some_out(training: TrainingSet) -> list[tuple[TrainingSet, TrainingSet]]:
    """(who stays, who is left out) for each i: the i-th piracy and the i-th homologous model are left out.

    With them goes an equal share of the models stolen from the other victim and from siblings, so that each is left
    out once; where there are more of the homologous models than of piracy, or fewer, an equal share of those too.
    """
    n = min(len(training.piracy), len(training.homologous))
    return [
        (training.without(out), out)
        for i in range(n)
        for out in (TrainingSet(*(rows[i::n] for rows in training._groups)),)
    ]
