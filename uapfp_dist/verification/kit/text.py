"""What a kit can do and what it cannot, as text."""

from uapfp_dist.verification.kit.info import Rates
from uapfp_dist.verification.kit.kit import Kit


def kit_text(kit: Kit) -> str:
    """A line for every format and limit, and what the enrolment took."""
    info = kit.info
    lines = [f"held-out models accused at alpha {kit.alpha:g}, each judged alone:"]
    for fmt, choice in info.decided_by.items():
        power, false_accusations = (
            (rates or {}).get(fmt, {}).get(choice.method, {}) for rates in (info.power, info.false_accusations)
        )
        queries = (info.queries or {}).get(fmt, 0)
        lines.append(
            f"  {fmt}, by {choice.method}, {queries} images: stolen {_rates(power)}; negatives "
            f"{_rates(false_accusations)}"
        )
    if churn := info.churn:
        lines.append(
            f"  churn: {churn.siblings} siblings; {churn.departures} of {churn.pool_size} images, made of "
            f"{churn.images}, where hardly one of them gives the victim's label"
        )
        for rate in churn.rates:
            lines.append(
                f"    set {rate.point_set}, {rate.n_points} points: stolen {_all(rate.power)}, negatives "
                f"{_all(rate.false_accusations)}"
            )
    lines += [f"- {limit}" for limit in info.limits]
    if costs := info.costs:
        minutes = costs.model_seconds / 60
        lines.append(f"{costs.models} models, {minutes:.1f} minutes of training, {costs.failed} failed")
    return "\n".join(lines)


def _rates(rates: Rates) -> str:
    return ", ".join(f"{kind} {n}/{of}" for kind, (n, of) in rates.items()) or "not measured"


def _all(rates: Rates) -> str:
    return "not measured" if "all" not in rates else f"{rates['all'].n}/{rates['all'].of}"
