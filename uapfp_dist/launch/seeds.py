"""One preset under several seeds, each a whole evaluation of its own."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.report_file import write_report
from uapfp_dist.reporting.over_seeds import seeds_figure, write_up
from uapfp_dist.reporting.report_schema import EvaluationReport, read_report


def run_seeds(
    config: Config,
    name: str,
    seeds: Sequence[int],
    out: Path,
    runtime: RuntimeConfig,
    on_report: Callable[[EvaluationReport], object],
) -> str:
    """Evaluate every seed that has no report yet, and sum up: Markdown and a picture, both in `out`, too.

    Args:
        config: what is evaluated.
        name: its preset.
        seeds: to run.
        out: folder for <preset>-<seed>.json, <preset>.md and <preset>.png.
        runtime: storage, workers and so on.
        on_report: takes each report of a seed that was run.

    Raises:
        UserError: no seed, or one twice; a file in `out` that is no report, or another evaluation's; anything wrong
            with the input.
    """
    config = with_precision(config, runtime.gpus_per_worker)
    check_seeds(seeds)
    make_folder(out)
    paths = resolve(runtime)
    dataset = load(config.data.name, paths.data_root, config.data.n_classes, config.data.shape)
    pool = load_pool(config, lambda other: load(other.name, paths.data_root))
    reports = []
    for seed in seeds:
        path = out / f"{name}-{seed}.json"
        if not path.exists():
            report = run(config, name, seed, runtime)
            on_report(report)
            write_report(path, report)
        try:
            reports.append(read_report(json.loads(path.read_text())))
        except (ValueError, UserError) as error:
            raise UserError(f"out: expected a report in {path} ({error}); move it away", argument="out") from error
        if reports[-1].evaluation != make_plan(config, seed, dataset, pool).id:
            raise UserError(f"out: expected the report of this evaluation in {path}, found that of another; remove it")
    text = write_up(name, reports)
    (out / f"{name}.md").write_text(text)
    seeds_figure(reports).savefig(out / f"{name}.png")
    return text


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse what no mean can be taken of.

    Raises:
        UserError: no seed, or one that stands there twice.
    """
    if not seeds:
        raise UserError("seeds: expected at least one, got none; name some", argument="seeds")
    if again := [seed for seed, n in Counter(seeds).items() if n > 1]:
        raise UserError(f"seeds: expected each of them once, got {again[0]} again; leave it out", argument="seeds")


def make_folder(out: Path) -> None:
    """Make the folder of results, where it is not there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"out: expected a folder that can be made at {out} ({error.strerror})", argument="out"
        ) from error
