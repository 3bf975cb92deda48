"""One preset over several seeds: what the main job says on average, with errors that count seeds, not models.

    python jobs/over_seeds.py --preset digits-large --seeds 0 1 2 3 4 --out over_seeds

Every seed is a whole evaluation of its own (its own splits, victim and zoo). Finished seeds are not run again.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.launch.evaluation import run

GROUPS = ("homologous", "other_victim", "same_data")


@dataclass(frozen=True)
class OverSeeds:
    """Evaluate a preset under several seeds and sum up."""

    preset: str = "digits"
    """Where the configuration starts from, as in full_eval.py."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds to run."""
    out: Path = Path("over_seeds")
    """Folder for <preset>-<seed>.json and <preset>.md."""
    surroundings: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def mean_and_error(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean over seeds and its standard error; seeds without the number are left out."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return math.nan, math.nan
    return float(known.mean()), float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan


def cell(reports: Sequence[Mapping[str, Any]], *path: str) -> str:
    """`mean ± standard error` over seeds of the number at `path` in each report."""
    values: list[Any] = list(reports)
    for key in path:
        values = [None if value is None else value.get(key) for value in values]
    mean, error = mean_and_error(values)
    return "-" if math.isnan(mean) else f"{mean:.3f} ± {error:.3f}"


def auc_rows(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per method: AUC of its chosen format against each group of innocents, and soft piracy."""
    rows = ["| method | " + " | ".join(GROUPS) + " | soft piracy |", "|---" * 5 + "|"]
    for method in reports[0]["auc"]:
        cells = [cell(reports, "auc", method, "chosen", group) for group in GROUPS]
        soft = cell(reports, "auc_soft_piracy", method, "chosen", "homologous")
        rows.append(f"| {method} | {' | '.join(cells)} | {soft} |")
    return rows


def decision_rows(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Power and false accusations at alpha."""
    kinds = ("conformal", "t_test", "conformal_weighted_errors")
    power = [cell(reports, "power", kind) for kind in kinds]
    rows = [
        f"| at alpha | conformal, {reports[0]['decided_by']} | paper's t-test, uap | conformal, weighted_errors |",
        "|---|---|---|---|",
        f"| power (piracy) | {' | '.join(power)} |",
    ]
    for group in GROUPS:
        cells = [cell(reports, "false_accusation", kind, group) for kind in kinds]
        rows.append(f"| falsely accused: {group} | {' | '.join(cells)} |")
    return rows


def write_up(name: str, reports: Sequence[Mapping[str, Any]]) -> str:
    """Markdown for a README."""
    first = reports[0]
    wall = ", ".join(f"{r['wall_seconds']:.0f}" for r in reports)
    seeds = ", ".join(str(r["seed"]) for r in reports)
    models = sum(r["models"]["trained"] + r["models"]["reused"] for r in reports)
    failed = sum(r["models"]["failed"] for r in reports)
    lines = [
        f"`{name}`, seeds {seeds}: {models} models ({failed} failed), {first['draws']} draws a seed, "
        f"{first['calibration']['models']} calibration models, {first['environment']['cpus']} CPUs, "
        f"torch {first['environment']['torch']}; seconds of wall time {wall}. Mean ± standard error over seeds.",
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
    dataset = load(config.data.name, resolve(chosen.surroundings).data_root, config.data.n_classes)
    reports = []
    for seed in chosen.seeds:
        path = chosen.out / f"{chosen.preset}-{seed}.json"
        if not path.exists():
            body = run(config, chosen.preset, seed, chosen.surroundings)
            path.write_text(json.dumps(body, indent=1))
        reports.append(json.loads(path.read_text()))
        if reports[-1].get("evaluation") != make_plan(config, seed, dataset).id:
            raise UserError(f"out: expected the report of this evaluation in {path}, found that of another; remove it")
    text = write_up(chosen.preset, reports)
    (chosen.out / f"{chosen.preset}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(job)
