"""Tables of kits: rates over zoos, and verdicts on modified models."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from uapfp_dist.results.markdown import share, table
from uapfp_dist.rng import numpy_rng
from uapfp_dist.serialization import Json, from_json
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.tasks.members import Role
from uapfp_dist.verification.judging.accusation_rates import FormatRates
from uapfp_dist.verification.kit.info import Rates

N_BOOT = 10_000
STOLEN = (Role.PIRACY, Role.MODIFIED_PIRACY, Role.SECOND_HAND_PIRACY, Role.MIXED_PIRACY, Role.MODIFIED_VICTIM)
"""Roles of models that learned from the victim."""


@dataclass(frozen=True)
class JudgedModel:
    """A suspect that a kit judged alone."""

    role: str
    kind: str
    """What was done to it."""
    architecture: str
    accuracy: float
    p_values: dict[str, float]
    """Images sent to conformal p."""

    @property
    def stolen(self) -> bool:
        """Whether it learned from the victim."""
        return self.role in STOLEN


def read_rates(content: Json) -> list[FormatRates]:
    """Rates on labels of each kit, from a file of `kit-power`.

    Raises:
        ValueError: it is none.
    """
    return [kit["hard"] for kit in from_json(list[dict[str, FormatRates]], content)]


def kit_power_section(budgets: Sequence[tuple[str, Sequence[FormatRates]]]) -> Iterator[str]:
    """Share accused by the method that decides, on labels; a column per budget of images, named by its file."""
    columns = [[rates.of(rates.decided_by) for rates in kits] for _, kits in budgets]
    header = ("share accused", *(name for name, _ in budgets))
    first = columns[0][0]
    rows = [_row("**stolen**", [[kit.power for kit in kits] for kits in columns], "all", zoos=True)]
    rows += [_row(k, [[kit.power for kit in kits] for kits in columns], k) for k in sorted(first.power) if k != "all"]
    for group in (name for name in first.false_accusations if name != "all"):
        rows.append(_row(f"negative: {group}", [[kit.false_accusations for kit in kits] for kits in columns], group))
    worst = [min((kit.power["all"] for kit in kits), key=lambda rate: rate[0] / max(rate[1], 1)) for kits in columns]
    rows.insert(1, ("stolen, the worst zoo", *(f"{n}/{of}" for n, of in worst)))
    yield table(header, rows)
    yield (
        "The interval of the first row resamples zoos; the others are Clopper-Pearson's, as if models were independent."
    )


def _row(name: str, columns: Sequence[Sequence[Rates]], kind: str, zoos: bool = False) -> tuple[str, ...]:
    return name, *((_over_zoos if zoos else _over_models)([rates[kind] for rates in kits]) for kits in columns)


def _over_zoos(counts: Sequence[tuple[int, int]]) -> str:
    known = np.array(counts, dtype=float)
    resampled = numpy_rng("zoos", "all").integers(len(known), size=(N_BOOT, len(known)))
    sums = known[resampled].sum(1)
    low, high = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
    return share(int(known[:, 0].sum()), int(known[:, 1].sum()), float(low), float(high))


def _over_models(counts: Sequence[tuple[int, int]]) -> str:
    n, of = sum(n for n, _ in counts), sum(of for _, of in counts)
    return share(n, of, *clopper_pearson(n, of))


def kit_robustness_section(judged: Sequence[JudgedModel], alpha: float) -> Iterator[str]:
    """Suspects accused by one kit, by what was done to them; a column per number of images."""
    for stolen, title in ((True, "Stolen models:"), (False, "Negatives:")):
        models = [one for one in judged if one.stolen == stolen]
        if models:
            yield title
            yield robustness_table(models, alpha)


def robustness_table(judged: Sequence[JudgedModel], alpha: float) -> str:
    """A row per role and kind: models, mean accuracy, share accused by each number of images."""
    budgets = list(judged[0].p_values)
    header = ("suspect", "what was done", "models", "accuracy", *(f"{n} images" for n in budgets))
    rows = []
    for (role, kind), group in _grouped(judged):
        accuracy = sum(one.accuracy for one in group) / len(group)
        cells = [_accused([one.p_values[n] <= alpha + 1e-12 for one in group]) for n in budgets]
        rows.append((role, kind, str(len(group)), f"{accuracy:.3f}", *cells))
    return table(header, rows)


def _grouped(judged: Iterable[JudgedModel]) -> Iterator[tuple[tuple[str, str], list[JudgedModel]]]:
    groups: dict[tuple[str, str], list[JudgedModel]] = {}
    for one in judged:
        groups.setdefault((one.role, one.kind), []).append(one)
    return iter(groups.items())


def _accused(accused: Sequence[bool]) -> str:
    n, of = sum(accused), len(accused)
    low, high = clopper_pearson(n, of)
    return f"{n}/{of} [{low:.2f}, {high:.2f}]"
