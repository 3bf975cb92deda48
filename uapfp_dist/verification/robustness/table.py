"""Verdicts on modified suspects as one table."""

from collections.abc import Iterator, Sequence

from uapfp_dist.reporting.model_names import ROLES
from uapfp_dist.response_format import LABEL
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import corrected_for
from uapfp_dist.verification.robustness.judged import JudgedModel


def robustness_text(title: str, kit: Kit, judged: Sequence[JudgedModel], n_failed: int) -> str:
    """Markdown; `title` says preset, seed and precision."""
    lines = [
        f"{title}: suspects accused at alpha {kit.alpha:g}{corrected_for(kit.n_corrected())} by "
        f"{kit.decided_by(LABEL, 0)} on labels, each judged alone [95 %, Clopper-Pearson over models]; {n_failed} "
        "models could not be made.",
        "",
    ]
    for stolen in (True, False):
        lines += [*robustness_rows([one for one in judged if one.stolen == stolen], kit.corrected_alpha), ""]
    return "\n".join(lines)


def robustness_rows(judged: Sequence[JudgedModel], alpha: float) -> list[str]:
    """A line per role and kind: models, mean accuracy, share accused at `alpha` by each number of images.

    `lost` is the mean accuracy that they lost against the models they were made of, a dash where they were made so
    from the start; files of before do not have it. The exact sibling test has a column of its own where the kit has it.
    """
    if not judged:
        return []
    budgets = list(judged[0].p_values)
    exact = list(judged[0].exact)
    paired = any(one.before is not None for one in judged)
    header = ["suspect", "what was done", "models", "accuracy", *(["lost"] if paired else [])]
    header += [f"{n} images" for n in budgets]
    header += [f"exact, {n} images" for n in exact]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for role, kind, group in _grouped(judged):
        accuracy = sum(one.accuracy for one in group) / len(group)
        cells = [_lost(group)] if paired else []
        cells += [_share([one.p_values[n] <= alpha + 1e-12 for one in group]) for n in budgets]
        cells += [_share([one.exact[n] <= alpha + 1e-12 for one in group]) for n in exact]
        lines.append(f"| {ROLES[role]} | {kind} | {len(group)} | {accuracy:.3f} | " + " | ".join(cells) + " |")
    return lines


def _lost(group: Sequence[JudgedModel]) -> str:
    differences = [one.made_of - one.accuracy for one in group if one.made_of is not None]
    return f"{sum(differences) / len(differences):+.3f}" if differences else "-"


def _grouped(judged: Sequence[JudgedModel]) -> Iterator[tuple[str, str, list[JudgedModel]]]:
    groups: dict[tuple[str, str], list[JudgedModel]] = {}
    for one in judged:
        groups.setdefault((one.role, one.kind), []).append(one)
    return ((role, kind, group) for (role, kind), group in groups.items())


def _share(accused: Sequence[bool]) -> str:
    n, of = sum(accused), len(accused)
    low, high = clopper_pearson(n, of)
    return f"{n}/{of} [{low:.2f}, {high:.2f}]"
