"""Reports of one preset under several seeds as one: means, with errors that count seeds, not models."""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.reporting.headline_areas import METHODS, areas_figure, estimate
from uapfp_dist.reporting.model_names import COLUMNS, GROUPS
from uapfp_dist.reporting.report_schema import AucTable, EvaluationReport, reported_groups

DECISIONS = ("conformal", "t_test", "conformal_weighted_errors")
"""Fields of a report's power and false accusations."""


def cell(values: Iterable[float]) -> str:
    """`mean ± standard error` over seeds; seeds without the number (NaN) are left out."""
    known = np.array([value for value in values if not math.isnan(value)], dtype=float)
    if not len(known):
        return "-"
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{known.mean():.3f} ± {known.std(ddof=1) / math.sqrt(len(known)):.3f}"


def auc_rows(reports: Sequence[EvaluationReport]) -> list[str]:
    """A line per method: AUC of its chosen format against each group of negatives, and with soft labels."""
    groups = reported_groups(*reports)
    names = [COLUMNS[group] for group in groups]
    rows = [f"| method | {' | '.join(names)} | soft labels |", "|---" * (len(groups) + 2) + "|"]
    for method in reports[0].auc:
        cells = [cell(_auc(r.auc, method, group) for r in reports) for group in groups]
        soft = cell(_auc(r.auc_soft_piracy, method, "homologous") for r in reports)
        rows.append(f"| {method} | {' | '.join(cells)} | {soft} |")
    return rows


def _auc(table: AucTable, method: str, group: Group) -> float:
    return table.get(method, {}).get(CHOSEN, {}).get(group, math.nan)


def zoo_blocks(reports: Sequence[EvaluationReport]) -> list[str]:
    """Markdown: how far single zoos are from the means, and whether they order the methods alike; empty for one zoo."""
    if len(reports) < 2:
        return []
    return [
        "**Each zoo alone.** AUC by the formats of the headline: `uap_paper` and `clean` have probabilities, the "
        "others what was chosen on the training models. `places`: the method's best and worst place among all.",
        *(block for g in reported_groups(*reports) for block in (f"Against {GROUPS[g]}:", _zoo_table(reports, g))),
        "Do the zoos order the methods alike? Kendall's tau of two zoos' orders of all methods (1: the same order, 0: "
        "orders that have nothing in common):",
        _order_table(reports),
    ]


def _zoo_table(reports: Sequence[EvaluationReport], group: Group) -> str:
    areas = _areas(reports, group)
    places = 1 + (areas[:, None] > areas[:, :, None]).sum(axis=2)  # of equal areas all have the first place
    seeds = " | ".join(f"seed {r.seed}" for r in reports)
    rows = [f"| method | {seeds} | mean ± standard error | places |", "|---" * (len(reports) + 3) + "|"]
    for method in METHODS:
        if method in reports[0].auc:
            i = list(reports[0].auc).index(method)
            known = places[~np.isnan(areas[:, i]), i]
            cells = ["-" if math.isnan(area) else f"{area:.2f}" for area in areas[:, i]]
            where = f"{known.min()} to {known.max()} of {areas.shape[1]}" if len(known) else "-"
            rows.append(f"| `{method}` | {' | '.join(cells)} | {cell(areas[:, i])} | {where} |")
    return "\n".join(rows)


def _order_table(reports: Sequence[EvaluationReport]) -> str:
    rows = ["| by the AUC against | methods | mean over pairs of zoos | lowest | highest |", "|---|---|---|---|---|"]
    for group in reported_groups(*reports):
        areas = _areas(reports, group)
        areas = areas[:, ~np.isnan(areas).any(axis=0)]
        taus = [float(kendalltau(one, other).statistic) for one, other in combinations(areas, 2)]
        known = [tau for tau in taus if not math.isnan(tau)]  # NaN: all methods are equal on one of the two
        numbers = [f"{f(known):.2f}" for f in (np.mean, min, max)] if known else ["-"] * 3
        rows.append(f"| {GROUPS[group]} | {areas.shape[1]} | {' | '.join(numbers)} |")
    return "\n".join(rows)


def seeds_figure(reports: Sequence[EvaluationReport]) -> Figure:
    """AUC of the headline's methods against each group of negatives, a mark with its interval for every zoo."""
    return areas_figure({f"seed {r.seed}": r for r in reports}, paper=False)


def _areas(reports: Sequence[EvaluationReport], group: Group) -> np.ndarray:
    """(zoos, methods) AUC in the headline's formats; NaN where it was not measured."""
    found = [[estimate(report, method, group) for method in reports[0].auc] for report in reports]
    return np.array([[math.nan if one is None else one.mean for one in row] for row in found])


def decision_rows(reports: Sequence[EvaluationReport]) -> list[str]:
    """Power and false accusations at alpha."""
    powers = [r.power for r in reports]
    power = [cell(getattr(p, kind) for p in powers) for kind in DECISIONS]
    rows = [
        f"| at alpha | conformal, {reports[0].decided_by} | paper's t-test, uap | conformal, weighted_errors |",
        "|---|---|---|---|",
        f"| stolen models accused (power) | {' | '.join(power)} |",
    ]
    for group in reported_groups(*reports):
        cells = [cell(getattr(r.false_accusation, kind).get(group, math.nan) for r in reports) for kind in DECISIONS]
        rows.append(f"| negatives accused: {COLUMNS[group]} | {' | '.join(cells)} |")
    return rows


def write_up(name: str, reports: Sequence[EvaluationReport]) -> str:
    """Markdown for a README."""
    first = reports[0]
    assert first.environment is not None
    wall = ", ".join(f"{r.wall_seconds:.0f}" for r in reports)
    seeds = ", ".join(str(r.seed) for r in reports)
    counts = [r.models for r in reports if r.models is not None]
    models, failed = sum(c.trained + c.reused for c in counts), sum(c.failed for c in counts)
    lines = [
        f"`{name}`, seeds {seeds}: {models} models ({failed} failed), {first.n_resamples} resamples a seed, "
        f"{first.calibration.models} calibration models, {first.environment.cpus} CPUs, "
        f"torch {first.environment.torch}; seconds of wall time {wall}. Mean ± standard error over seeds.",
        "",
        *auc_rows(reports),
        "",
        *decision_rows(reports),
    ]
    return "\n\n".join(("\n".join(lines), *zoo_blocks(reports))) + "\n"
