"""How much exact sibling tests catch over independent zoos, as one table. Zoos are resampled, not their models."""

from collections.abc import Iterator, Sequence

from uapfp_dist.verification.enrollment.exact_power import ExactPower
from uapfp_dist.verification.kit.info import Accused
from uapfp_dist.verification.kit.text import corrected_for
from uapfp_dist.verification.reports.rates_over_zoos import interval, what_varies, zoos


def exact_rows(found: Sequence[ExactPower]) -> list[str]:
    """A line per statistic and number of images."""
    lines = [
        "| statistic | images | stolen from the victim, claimed | the worst zoo | at the least p | "
        "stolen from any player, claimed | independent, claimed | players with more than a fifth of those |",
        "|---" * 8 + "|",
    ]
    groups: dict[tuple[bool, int], list[ExactPower]] = {}
    for one in found:
        groups.setdefault((bool(one.stolen_each), one.n_points), []).append(one)
    for (learned, n_points), of_zoos in sorted(groups.items()):
        name = f"learned from {max(zoo.stolen_each for zoo in of_zoos)} thefts each" if learned else "unweighted"
        images = sum(zoo.images for zoo in of_zoos) / len(of_zoos)
        worst = min((zoo.power for zoo in of_zoos), key=lambda rate: rate.n / max(rate.of, 1))
        rotated = [zoo.rotated for zoo in of_zoos if zoo.rotated is not None]
        cells = [name, f"{images:.0f} ({n_points} a player)", _share([zoo.power for zoo in of_zoos])]
        first = [zoo.first for zoo in of_zoos if zoo.first is not None]
        cells += [f"{worst.n}/{worst.of}", *(_share(rates) if rates else "-" for rates in (first, rotated))]
        accused = [zoo.accused for zoo in of_zoos if zoo.accused is not None]
        unlucky = [zoo.unlucky for zoo in of_zoos if zoo.unlucky is not None]
        cells += [_share(accused) if accused else "-"]
        cells += [f"{sum(one.n for one in unlucky)}/{sum(one.of for one in unlucky)}" if unlucky else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def exact_power_text(name: str, found: Sequence[ExactPower], alpha: float, n_corrected: int = 1) -> Iterator[str]:
    """Markdown for a README; each p is corrected for `n_corrected` suspects."""
    n, siblings = len({one.seed for one in found}), found[0].siblings
    yield (
        f"`{name}`, {zoos(n)}: the exact sibling test by labels with {siblings} siblings at alpha {alpha:g}, each "
        f"suspect judged alone{corrected_for(n_corrected)}; share claimed [{what_varies(n)}] (models)."
    )
    yield ""
    yield from exact_rows(found)


def _share(rates: Sequence[Accused]) -> str:
    n, of, low, high = interval([{"all": rate} for rate in rates], "all")
    return f"{n / max(of, 1):.3f} [{low:.3f}, {high:.3f}] ({n}/{of})"
