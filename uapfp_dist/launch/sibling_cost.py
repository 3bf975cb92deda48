"""Measure what siblings are worth that share the beginning of their training with the victim."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.sibling_study import (
    SiblingCounts,
    SiblingPower,
    StartKind,
    sibling_plan,
    sibling_power,
    study_specs,
)
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.making import make_specs
from uapfp_dist.launch.seeds import check_seeds, make_folder
from uapfp_dist.reporting.figures.sibling_study import KINDS, sibling_figure
from uapfp_dist.reporting.figures.style import DPI
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.verification.enrollment.derived_config import enroll_preset


def measure_siblings(
    name: str,
    seeds: Sequence[int],
    shares: Sequence[float],
    backbone_shares: Sequence[float],
    precision: Literal["float32", "bfloat16", "auto"],
    counts: SiblingCounts,
    runtime: RuntimeConfig,
    out: Path,
) -> str:
    """Write <preset>-siblings.json, .png and one table of Markdown, which is returned; running it again resumes.

    Args:
        name: of the preset.
        seeds: a victim of each, for every start.
        shares: of the training that siblings repeat from a checkpoint of the victim's run; 1: all of it.
        backbone_shares: of the steps of a whole training that they make from a backbone.
        precision: that models are trained in.
        counts: of models.
        runtime: storage, workers and so on.
        out: folder.

    Raises:
        UserError: anything wrong with the input.
    """
    torch.set_num_threads(1)
    config = with_precision(replace(enroll_preset(name), precision=precision), runtime.gpus_per_worker)
    paths = resolve(runtime)
    dataset = load_images(config.data, paths)
    starts: list[tuple[StartKind, float]] = [("scratch" if share == 1.0 else "checkpoint", share) for share in shares]
    starts += [("backbone", share) for share in backbone_shares]
    check_seeds(seeds)
    if not starts:
        raise UserError("shares: expected at least one, got none; name some", argument="shares")
    plans = [sibling_plan(config, counts, *start, seed, dataset) for seed in seeds for start in starts]
    make_folder(out)
    specs = dependency_order([spec for plan in plans for spec in study_specs(plan)])
    siblings = [member.spec for plan in plans for member in members_of(plan.members, Role.SIBLING)]
    context = make_specs(specs, runtime, paths, plans[0].data, dataset, siblings)
    found = [sibling_power(plan, counts, context.store) for plan in plans]
    text = "\n".join(sibling_rows(f"`{name}`, {config.precision}", found, counts, plans)) + "\n"
    (out / f"{name}-siblings.json").write_text(json.dumps(to_json(found), indent=1))
    (out / f"{name}-siblings.md").write_text(text)
    sibling_figure(found).savefig(out / f"{name}-siblings.png", dpi=DPI)
    return text


def sibling_rows(
    title: str, found: Sequence[SiblingPower], counts: SiblingCounts, plans: Sequence[Plan]
) -> Iterator[str]:
    """Markdown: a line per victim."""
    n_models = len({member.spec.id for plan in plans for member in plan.members})
    made = sorted({one.n_sibling_piracy for one in found})
    n_siblings = str(made[0]) if len(made) == 1 else f"{made[0]} to {made[-1]}"
    if made != [counts.n_sibling_piracy]:
        n_siblings += f" (of {counts.n_sibling_piracy} asked for)"
    yield (
        f"{title}, {n_models} models: `churn` by at most {counts.n_labels} labels with a committee of "
        f"{counts.n_committee}; models stolen from the victim against one stolen from each of "
        f"{n_siblings} siblings, which calibrate the claims at alpha {counts.alpha:g}."
    )
    yield ""
    yield (
        "| siblings | share of training repeated | seed | churn points | asked | AUC | caught | accuracy of the victim "
        "| of siblings | seconds a sibling |"
    )
    yield "|---" * 10 + "|"
    for one in found:
        caught = "cannot decide" if one.caught is None else f"{one.caught}/{one.n_stolen}"
        cells = [KINDS[one.start], f"{one.repeated:g}", f"{one.seed}", f"{one.n_departures} of {one.pool_size}"]
        cells += [f"{one.n_labels}", f"{one.auc:.3f}", caught, f"{one.victim_accuracy:.3f}"]
        cells += [f"{one.sibling_accuracy:.3f}", f"{one.sibling_seconds:.1f}"]
        yield f"| {' | '.join(cells)} |"
