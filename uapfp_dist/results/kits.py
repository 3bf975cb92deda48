"""Tables of kits: rates over zoos, and verdicts on modified models."""

from collections.abc import Iterator, Sequence

from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.results.markdown import share, table
from uapfp_dist.serialization import Json, from_json
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.verification.judging.accusation_rates import FormatRates
from uapfp_dist.verification.kit.info import Rates
from uapfp_dist.verification.reports.rates_over_zoos import interval
from uapfp_dist.verification.robustness.judged import JudgedModel
from uapfp_dist.verification.robustness.table import robustness_rows


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
        rows.append(
            _row(
                GROUPS[group],
                [[kit.false_accusations for kit in kits] for kits in columns],
                group,
            )
        )
    worst = [min((kit.power["all"] for kit in kits), key=lambda rate: rate[0] / max(rate[1], 1)) for kits in columns]
    rows.insert(1, ("stolen, the worst zoo", *(f"{n}/{of}" for n, of in worst)))
    yield table(header, rows)
    yield (
        "The interval of the first row resamples zoos; the others are Clopper-Pearson's, as if models were independent."
    )


def _row(name: str, columns: Sequence[Sequence[Rates]], kind: str, zoos: bool = False) -> tuple[str, ...]:
    return name, *(share(*interval(kits, kind)) if zoos else _over_models(kits, kind) for kits in columns)


def _over_models(kits: Sequence[Rates], kind: str) -> str:
    n, of = (sum(rates[kind][i] for rates in kits) for i in range(2))
    return share(n, of, *clopper_pearson(n, of))


def kit_robustness_section(judged: Sequence[JudgedModel], alpha: float) -> Iterator[str]:
    """Suspects accused by one kit, by what was done to them; a column per number of images."""
    for stolen, title in ((True, "Stolen models:"), (False, "Negatives:")):
        if rows := robustness_rows([one for one in judged if one.stolen == stolen], alpha):
            yield from (title, "\n".join(rows))
