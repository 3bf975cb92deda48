"""How often kits accuse, over independent zoos, as one table. Zoos are resampled, not their models."""

from collections.abc import Callable, Sequence

import numpy as np

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.verification.judging.accusation_rates import AccusationRates, FormatRates
from uapfp_dist.verification.judging.verdict import KIT_METHODS
from uapfp_dist.verification.kit.info import Rates
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import corrected_for

N_BOOT = 2000
FEWEST_ZOOS = 5
"""That are resampled."""

KitRates = dict[ResponseFormat, FormatRates]
"""What one kit's rates are, by format."""


def rates_text(
    name: str, kits: Sequence[Kit], rates: Sequence[KitRates], n_calibrate: int, max_queries: int | None
) -> str:
    """Markdown for a README.

    Args:
        name: of the preset.
        kits: one of each zoo.
        rates: of each kit.
        n_calibrate: calibration models of a group.
        max_queries: images that each suspect was judged by at most; None: all.
    """
    costs = [kit.info.costs for kit in kits if kit.info.costs]
    # Of kits whose exact test makes the claim, its rates are a table of their own.
    decided = "conformal test, without a claim" if kits[0].exact_claims else "as decided"
    minutes = sum(cost.model_seconds for cost in costs) / 60
    lines = [
        f"`{name}`, {zoos(len(kits))} of {costs[0].models if costs else 0} models ({minutes:.0f} minutes of "
        f"training in all), alpha {kits[0].alpha:g}{corrected_for(kits[0].n_corrected())}, "
        f"{n_calibrate} models per group, "
        f"{'all images' if max_queries is None else f'at most {max_queries} images'}; "
        f"share accused [{what_varies(len(kits))}] (models).",
        "",
        *rows(rates, lambda found: found.false_accusations, decided),
        "",
        *rows(rates, lambda found: found.power, decided),
    ]
    return "\n".join(lines) + "\n"


def rows(
    rates: Sequence[KitRates], what: Callable[[AccusationRates], Rates], decided_by: str = "as decided"
) -> list[str]:
    """A line per kind of model and format: the method that decides, under the name `decided_by`, and both methods."""
    lines = [
        f"| suspect | answers | {decided_by} | " + " | ".join(KIT_METHODS) + " |",
        "|---" * (3 + len(KIT_METHODS)) + "|",
    ]
    for fmt in rates[0]:
        of_format = [zoo[fmt] for zoo in rates]
        decided = [what(zoo.of(zoo.decided_by)) for zoo in of_format]
        columns = [decided, *([what(zoo.of(method)) for zoo in of_format] for method in KIT_METHODS)]
        for kind in sorted({kind for found in decided for kind in found}):
            cells = []
            for column in columns:
                n, of, low, high = interval(column, kind)
                cells.append(f"{n / max(of, 1):.3f} [{low:.3f}, {high:.3f}] ({n}/{of})")
            lines.append(f"| {kind} | {fmt.wire} | {' | '.join(cells)} |")
    return lines


def interval(rates: Sequence[Rates], kind: str) -> tuple[int, int, float, float]:
    """Accused, of so many, and the 95 % interval: Clopper-Pearson's, or, where it is wider, the bootstrap over zoos.

    Fewer than `FEWEST_ZOOS` are not resampled: two or three say little of how much zoos differ. Where no model is
    accused, or every one, resampling zoos would show no spread at all.
    """
    counts = np.array([found[kind] for found in rates if kind in found], dtype=float)
    n, of = counts.sum(0).astype(int).tolist()
    low, high = clopper_pearson(n, of)
    if len(counts) >= FEWEST_ZOOS:
        resampled = numpy_rng("zoos", kind).integers(len(counts), size=(N_BOOT, len(counts)))
        sums = counts[resampled].sum(1)
        over_zoos = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
        low, high = min(low, float(over_zoos[0])), max(high, float(over_zoos[1]))
    return n, of, low, high


def what_varies(n_zoos: int) -> str:
    """What the intervals are over."""
    if n_zoos >= FEWEST_ZOOS:
        return "95 % over zoos, not narrower than if all models were independent"
    models = "the models of one zoo" if n_zoos == 1 else "all models"
    return f"95 %, Clopper-Pearson, as if {models} were independent"


def zoos(n: int) -> str:
    """`1 zoo`, `2 zoos`."""
    return f"{n} zoo{'s' if n != 1 else ''}"
