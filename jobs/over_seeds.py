"""One preset over several seeds: means of the reports' numbers, with errors that count seeds, not models.

    python jobs/over_seeds.py --preset digits-large --seeds 0 1 2 3 4 --out over_seeds

Every seed is a whole evaluation of its own (its own splits, victim and zoo). Finished seeds are not run again.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.report_file import write_report
from uapfp_dist.reporting.report_schema import AucTable, EvaluationReport, read_report, reported_groups

DECISIONS = ("conformal", "t_test", "conformal_weighted_errors")
"""Fields of a report's power and false accusations."""


@dataclass(frozen=True)
class OverSeeds:
    """Evaluate a preset under several seeds and sum up."""

    preset: str = "digits"
    """Where the configuration starts from, as in full_eval.py."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds to run."""
    out: Path = Path("over_seeds")
    """Folder for <preset>-<seed>.json and <preset>.md."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def cell(values: Iterable[float]) -> str:
    """`mean ± standard error` over seeds; seeds without the number (NaN) are left out."""
    known = np.array([value for value in values if not math.isnan(value)], dtype=float)
    if not len(known):
        return "-"
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
    return f"{float(known.mean()):.3f} ± {error:.3f}"


def auc_rows(reports: Sequence[EvaluationReport]) -> list[str]:
    """A line per method: AUC of its chosen format against each group of negatives, and soft piracy."""
    groups = reported_groups(*reports)
    rows = ["| method | " + " | ".join(groups) + " | soft piracy |", "|---" * (len(groups) + 2) + "|"]
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
        f"| power (piracy) | {' | '.join(power)} |",
    ]
    for group in reported_groups(*reports):
        cells = [cell(getattr(r.false_accusation, kind).get(group, math.nan) for r in reports) for kind in DECISIONS]
        rows.append(f"| falsely accused: {group} | {' | '.join(cells)} |")
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


def job() -> None:
    """Run every seed, write a JSON each and one table."""
    chosen = tyro.cli(OverSeeds, args=sys.argv[1:], description=__doc__)
    config: Config = preset(chosen.preset)
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out: expected a folder that can be made at {chosen.out} ({error.strerror})") from error
    dataset = load(config.data.name, resolve(chosen.runtime).data_root, config.data.n_classes, config.data.shape)
    reports = []
    for seed in chosen.seeds:
        path = chosen.out / f"{chosen.preset}-{seed}.json"
        if not path.exists():
            write_report(path, run(config, chosen.preset, seed, chosen.runtime))
        try:
            reports.append(read_report(json.loads(path.read_text())))
        except (ValueError, UserError) as error:
            raise UserError(f"out: expected a report in {path} ({error}); move it away", argument="out") from error
        if reports[-1].evaluation != make_plan(config, seed, dataset).id:
            raise UserError(f"out: expected the report of this evaluation in {path}, found that of another; remove it")
    text = write_up(chosen.preset, reports)
    (chosen.out / f"{chosen.preset}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(job)
