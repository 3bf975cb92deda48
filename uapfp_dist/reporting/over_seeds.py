"""Reports of one preset under several seeds as one table: means, with errors that count seeds, not models."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.reporting.model_names import COLUMNS
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
    return "\n".join(lines) + "\n"
