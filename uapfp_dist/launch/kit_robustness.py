"""Enroll a preset's victim, modify held-out models, judge them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import ControlConfig
from uapfp_dist.config.validation import check
from uapfp_dist.errors import UserError
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.making import make_specs
from uapfp_dist.launch.seeds import make_folder
from uapfp_dist.reporting.figures.style import DPI
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.plan import plan_enrollment
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.robustness.figure import removal_figure
from uapfp_dist.verification.robustness.judged import judged_evasions, judged_model
from uapfp_dist.verification.robustness.members import Counts, modified_suspects
from uapfp_dist.verification.robustness.table import robustness_text


def measure_robustness(
    name: str,
    seed: int,
    precision: Literal["float32", "bfloat16", "auto"],
    counts: Counts,
    controls: ControlConfig,
    removal: RemovalConfig,
    requirements: EnrollConfig,
    runtime: RuntimeConfig,
    out: Path,
) -> str:
    """Write suspects.json and one table of Markdown, suspects.md, which is returned; running it again resumes.

    Args:
        name: of the preset.
        seed: every random choice follows from it.
        precision: that models are trained in.
        counts: of the models that are modified.
        controls: models unlike those that the kit has seen.
        removal: attacks on the evidence itself.
        requirements: of the kit.
        runtime: storage, workers and so on.
        out: folder, for the kit, too.

    Raises:
        UserError: anything wrong with the input.
    """
    torch.set_num_threads(1)
    if requirements.exact == "claims":
        raise UserError(
            "exact: expected none or beside, got claims: modified suspects are judged by the conformal test alone",
            argument="exact",
        )
    config = with_precision(replace(enroll_preset(name), precision=precision), runtime.gpus_per_worker)
    paths = resolve(runtime)
    folder = (out / f"kit-{name}-{seed}").absolute()
    dataset = load_images(config.data, paths)
    plan = plan_enrollment(config, requirements, seed, dataset)
    zoo = plan.config.zoo
    n_piracy, n_homologous = min(removal.n_piracy, zoo.n_piracy), min(removal.n_homologous, zoo.n_homologous)
    check(replace(plan.config, removal=replace(removal, n_piracy=n_piracy, n_homologous=n_homologous)))
    make_folder(out)
    if not folder.exists():
        run_enrollment(config, name, seed, requirements, runtime, folder)
    kit = load_kit(folder)
    members = modified_suspects(counts, controls, removal, plan, kit, config)
    specs = dependency_order([member.spec for member in members])
    context = make_specs(specs, runtime, paths, plan.victim.data, dataset)
    made = [member for member in members if context.store.has("model", member.spec.id)]
    judged = [judged_model(context, kit, member) for member in made]
    plain = [member for member in made if member.role in (Role.PIRACY, Role.HOMOLOGOUS)]
    judged += [one for member in plain for one in judged_evasions(context, kit, member)]
    (out / "suspects.json").write_text(json.dumps([to_json(one) for one in judged], indent=1))
    text = robustness_text(f"`{name}`, seed {seed}, {precision}", kit, judged, len(members) - len(made))
    (out / "suspects.md").write_text(text)
    removal_figure(judged, kit.corrected_alpha).savefig(out / "removal.png", dpi=DPI)
    return text
