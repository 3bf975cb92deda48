"""What a kit can do and what it cannot, as text."""

import math
from collections.abc import Iterator, Sequence

from uapfp_dist.reporting.model_names import COLUMNS
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.verification.kit.info import Accused, ChurnRates, KitChurn, KitExact, Rates
from uapfp_dist.verification.kit.kit import Kit


def kit_text(kit: Kit) -> str:
    """How much it catches, in a sentence; then a line for every format and limit, and what the enrolment took."""
    info = kit.info
    lines = [_answer(kit), *_formats(kit)]
    if churn := info.churn:
        lines += _churn(churn, few_siblings(kit))
    if exact := info.exact:
        lines.append(f"  {exact_text(exact)}")
    lines += [f"- {limit}" for limit in info.limits]
    if costs := info.costs:
        minutes = costs.model_seconds / 60
        lines.append(f"{costs.models} models, {minutes:.1f} minutes of training, {costs.failed} failed")
    return "\n".join(lines)


def corrected_for(n: int) -> str:
    """How many suspects each p is corrected for, to go on a sentence with; empty for one."""
    return f", corrected for {n} suspects" if n > 1 else ""


def rates_at(kit: Kit) -> str:
    """At what its rates were counted; in kits of earlier versions uncorrected, whatever their verdicts are."""
    n = kit.n_corrected()
    if kit.states_uncorrected_rates:
        return f"alpha {kit.alpha:g} (uncorrected; verdicts are corrected for {n} suspects and accuse fewer)"
    return f"alpha {kit.alpha:g}{corrected_for(n)}"


def _rates_of(kit: Kit, fmt: ResponseFormat) -> tuple[Rates, Rates]:
    """Power and false accusations of the method that decides in a format."""
    info = kit.info
    method = info.decided_by[fmt].method
    power, false_accusations = ((r or {}).get(fmt, {}).get(method, {}) for r in (info.power, info.false_accusations))
    return power, false_accusations


def _answer(kit: Kit) -> str:
    """By labels, which every suspect gives, where the kit judges them."""
    exact = kit.info.exact
    if exact is not None and exact.claims:
        caught = "an unknown number of" if exact.power is None else f"{exact.power.n} of {exact.power.of}"
        return (
            f"Of held-out models, each judged alone at {rates_at(kit)}, by its labels, the exact sibling test of "
            f"this kit accuses {caught} stolen ones. Without a claim, the conformal test:"
        )
    fmt = LABEL if LABEL in kit.info.decided_by else next(iter(kit.info.decided_by))
    power, false_accusations = _rates_of(kit, fmt)
    return (
        f"Of held-out models, each judged alone at {rates_at(kit)}, by its {fmt}, this kit accuses {_all(power)} "
        f"stolen ones and {_all(false_accusations)} negatives."
    )


def _formats(kit: Kit) -> Iterator[str]:
    """A line for each; formats with the same rates share one."""
    by_text: dict[str, list[str]] = {}
    for fmt, choice in kit.info.decided_by.items():
        power, false_accusations = _rates_of(kit, fmt)
        text = (
            f"by {choice.method}, {(kit.info.queries or {}).get(fmt, 0)} images: stolen {_kinds(power)}; negatives "
            f"{_kinds(false_accusations)}"
        )
        by_text.setdefault(text, []).append(str(fmt))
    return (f"  {', '.join(formats)}: {text}" for text, formats in by_text.items())


def few_siblings(kit: Kit) -> str:
    """How many give the victim's label at a churn point: `at most 30 % of its siblings`."""
    assert kit.churn is not None
    share = (kit.info.configuration or {}).get("churn", {}).get("largest_share")
    if not isinstance(share, float):  # a kit that does not say: what its points have
        agree = kit.churn.committee == kit.victim_labels[kit.churn.points][..., None]
        share = float(agree.double().mean(2).max())
    return f"at most {math.ceil(100 * share - 1e-9)} % of its siblings"


def _churn(churn: KitChurn, siblings: str) -> Iterator[str]:
    """The points, and what each set of them catches by the number that is sent."""
    yield (
        f"  churn: {churn.siblings} siblings; {churn.departures} of {churn.pool_size} images, made of "
        f"{churn.images}, where {siblings} give the victim's label"
    )
    by_set: dict[int, list[ChurnRates]] = {}
    for rate in churn.rates:
        by_set.setdefault(rate.point_set, []).append(rate)
    for number, rates in by_set.items():
        points = ", ".join(str(rate.n_points) for rate in rates)
        caught, wronged = (_row([getattr(rate, name) for rate in rates]) for name in ("power", "false_accusations"))
        yield f"    set {number}, by {points} points: stolen {caught}; negatives {wronged}"


def exact_text(exact: KitExact) -> str:
    """Who takes part, and what it catches."""
    caught = "how much it catches is not known" if exact.power is None else f"stolen {exact.power.n}/{exact.power.of}"
    learned = f", {exact.stolen_each} models stolen from each" if exact.stolen_each else ", nothing stolen"
    claims = "makes the claim" if exact.claims else "run by verify --exact, without a claim"
    rotated = f"; from any of them {exact.rotated.n}/{exact.rotated.of}" if exact.rotated else ""
    return (
        f"exact sibling test ({claims}): {exact.siblings} siblings{learned}, {exact.images} images: {caught}{rotated}"
    )


def _row(rates: Sequence[Rates]) -> str:
    """`12, 16, 15 of 24`."""
    known = [found["all"] for found in rates if "all" in found]
    return f"{', '.join(str(one.n) for one in known)} of {known[0].of}" if known else "not measured"


def _kinds(rates: Rates) -> str:
    words = {str(group): name for group, name in COLUMNS.items()}
    named = ((words.get(kind, kind), rate) for kind, rate in rates.items() if kind != "all")
    return ", ".join(f"{name} {n}/{of}" for name, (n, of) in named) or "not measured"


def _all(rates: Rates) -> str:
    accused: Accused | None = rates.get("all")
    return "an unknown number of" if accused is None else f"{accused.n} of {accused.of}"
