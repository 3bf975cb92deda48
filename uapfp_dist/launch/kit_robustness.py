"""Enroll a preset's victim, modify held-out models, judge them."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig
from uapfp_dist.data import Dataset
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
from uapfp_dist.verification.enrollment.derived_config import check_derived, enroll_preset
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.enrollment.same_enrollment import check_same_enrollment
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.robustness.figure import removal_figure
from uapfp_dist.verification.robustness.judged import JudgedSuspects, judged_evasions, judged_model
from uapfp_dist.verification.robustness.members import Counts, modified_suspects
from uapfp_dist.verification.robustness.table import robustness_text


def robustness_preset(name: str) -> Config:
    """A preset of enrolments, with models modified in all ways.

    Raises:
        UserError: unknown; lists the known ones.
    """
    config = enroll_preset(name)
    iterations = ModificationConfig().adversarial_iterations
    return replace(
        config,
        modifications=replace(config.modifications, adversarial_iterations=iterations),
        controls=ControlConfig(n_other_architecture=4, n_second_hand=6, n_mixed=6),
        removal=RemovalConfig(n_piracy=6, n_homologous=4),
    )


def measure_robustness(
    name: str,
    config: Config,
    seed: int,
    counts: Counts,
    requirements: EnrollConfig,
    runtime: RuntimeConfig,
    out: Path,
) -> str:
    """Write suspects.json and one table of Markdown, suspects.md, which is returned; running it again resumes.

    Args:
        name: of the preset.
        config: as in an enrolment; modifications, controls and attacks on the evidence, as in an evaluation.
        seed: every random choice follows from it.
        counts: of the models that are modified.
        requirements: of the kit.
        runtime: storage, workers and so on.
        out: folder, for the kit, too.

    Raises:
        UserError: anything wrong with the input.
    """
    torch.set_num_threads(1)
    _check_requirements(requirements)
    config = with_precision(config, runtime.gpus_per_worker)
    base = enroll_preset(name)
    enrolled = replace(config, modifications=base.modifications, controls=base.controls, removal=base.removal)
    paths = resolve(runtime)
    folder = (out / f"kit-{name}-{seed}").absolute()
    dataset = load_images(config.data, paths, base.data.train_share)
    plan = plan_enrollment(enrolled, requirements, seed, dataset)
    zoo, removal = plan.config.zoo, config.removal
    n_piracy, n_homologous = min(removal.n_piracy, zoo.n_piracy), min(removal.n_homologous, zoo.n_homologous)
    removal = replace(removal, n_piracy=n_piracy, n_homologous=n_homologous)
    check_derived(replace(plan.config, modifications=config.modifications, controls=config.controls, removal=removal))
    make_folder(out)
    kit = _kit(folder, enrolled, name, plan, runtime, dataset)
    members = modified_suspects(counts, config, plan, kit)
    specs = dependency_order([member.spec for member in members])
    context = make_specs(specs, runtime, paths, plan.victim.data, dataset)
    made = [member for member in members if context.store.has("model", member.spec.id)]
    judged = [judged_model(context, kit, member) for member in made]
    plain = [member for member in made if member.role in (Role.PIRACY, Role.HOMOLOGOUS)]
    judged += [one for member in plain for one in judged_evasions(context, kit, member)]
    title = f"`{name}`, seed {seed}, {config.precision}"
    content = to_json(JudgedSuspects(title, kit.corrected_alpha, judged))
    (out / "suspects.json").write_text(json.dumps(content, indent=1))
    text = robustness_text(title, kit, judged, len(members) - len(made))
    (out / "suspects.md").write_text(text)
    removal_figure(judged, kit.corrected_alpha).savefig(out / "removal.png", dpi=DPI)
    return text


def _check_requirements(requirements: EnrollConfig) -> None:
    """Accept those of a kit that can judge modified suspects."""
    if requirements.exact == "claims":
        raise UserError(
            "exact: expected none or beside, got claims: modified suspects are judged by the conformal test alone",
            argument="exact",
        )
    if not requirements.n_committee:
        raise UserError(
            "n_committee: expected siblings, by whose churn points modified suspects are judged, got 0; raise it",
            argument="n_committee",
        )


def _kit(
    folder: Path, config: Config, name: str, plan: EnrollmentPlan, runtime: RuntimeConfig, dataset: Dataset
) -> Kit:
    """The kit in `folder`, enrolled if there is none."""
    if not folder.exists():
        run_enrollment(config, name, plan.seed, plan.requirements, runtime, folder)
    kit = load_kit(folder)
    check_same_enrollment(kit, config, plan.requirements, plan.seed, dataset, folder)
    return kit
