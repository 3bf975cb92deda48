"""What does a kit say of stolen models that were modified afterwards, and of independent models treated alike?

    python jobs/modified_suspects.py --preset digits --seed 1 --out modified
    python jobs/modified_suspects.py --preset fashion_mnist-small --data-root DATA --precision auto

It enrolls the preset's victim, modifies models that neither trained nor calibrated the kit (fine-tuned, new last layer,
pruned, INT8, distilled, two in a row, trained adversarially), and adds attackers at second hand, attackers who mix true
labels with the victim's, and nets of kinds that the kit has never seen. Each is judged alone by the labels that the
victim's kit asks for. Running the same command again resumes.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig
from uapfp_dist.evaluation.control_models import control_members
from uapfp_dist.evaluation.modified_models import modified_members
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.fingerprints.querying import from_8_bits
from uapfp_dist.launch.enrollment import run_enrollment, workers
from uapfp_dist.launch.images import load_images
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.progress import Progress
from uapfp_dist.response_format import LABEL
from uapfp_dist.serialization import to_json
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.modification_specs import AdversarialTraining
from uapfp_dist.tasks.scheduler import dependency_order, run_tasks
from uapfp_dist.tasks.specs import Extracted
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit

STOLEN = (Role.PIRACY, Role.MODIFIED_PIRACY, Role.SECOND_HAND_PIRACY, Role.MIXED_PIRACY, Role.MODIFIED_VICTIM)
"""Roles of models that learned from the victim."""


@dataclass(frozen=True)
class ModifiedSuspects:
    """Enroll a victim, modify held-out models, judge them."""

    preset: str = "digits"
    """Where the configuration starts from, as in enroll.py."""
    seed: int = 0
    """Every random choice follows from it."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """As in enroll.py."""
    out: Path = Path("modified")
    """Folder for the kit, suspects.json and suspects.md."""
    n_stolen: int = 6
    """Held-out stolen models that are modified in every way."""
    n_negatives: int = 4
    """Held-out homologous models treated alike."""
    n_adversarial: int = 3
    """Of each, those that are trained adversarially, too."""
    controls: ControlConfig = field(
        default_factory=lambda: ControlConfig(n_other_architecture=4, n_second_hand=6, n_mixed=6)
    )
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=EnrollConfig)
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


@dataclass(frozen=True)
class JudgedModel:
    """One suspect of the table."""

    role: str
    kind: str
    """What was done to it."""
    architecture: str
    accuracy: float
    p_values: dict[str, float]
    """Images sent to conformal p."""

    @property
    def stolen(self) -> bool:
        """Whether it learned from the victim."""
        return self.role in STOLEN


def job() -> None:
    """Enroll, modify, judge, write the table."""
    chosen = tyro.cli(ModifiedSuspects, args=sys.argv[1:], description=__doc__)
    torch.set_num_threads(1)
    config = with_precision(replace(enroll_preset(chosen.preset), precision=chosen.precision))
    paths = resolve(chosen.runtime)
    folder = (chosen.out / f"kit-{chosen.preset}-{chosen.seed}").absolute()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        run_enrollment(config, chosen.preset, chosen.seed, chosen.requirements, chosen.runtime, folder)
    kit = load_kit(folder)
    dataset = load_images(config.data, paths)
    plan = plan_enrollment(config, chosen.requirements, chosen.seed, dataset)
    members = suspects(chosen, plan, kit, config)
    store, progress = Store(paths.storage), Progress(workers=1)
    specs = dependency_order([member.spec for member in members])
    with workers(chosen.runtime, paths, store, plan.victim.data, progress) as (pool, _):
        progress.expect(specs)
        progress.watch(pool)
        for outcome in run_tasks(specs, pool, stored_specs(store, specs), progress.refresh):
            progress.observe(outcome)
        pool.close()
    context = TaskContext(store, paths.data_root, torch.device("cpu"), dataset)
    judged = [judged_model(context, kit, member) for member in members if store.has("model", member.spec.id)]
    (chosen.out / "suspects.json").write_text(json.dumps([to_json(one) for one in judged], indent=1))
    text = table(kit, chosen, judged, len(members) - len(judged))
    (chosen.out / "suspects.md").write_text(text)
    print(text)


def suspects(chosen: ModifiedSuspects, plan: EnrollmentPlan, kit: Kit, config: Config) -> list[Member]:
    """Held-out models as they are, modified, and the controls."""
    held_out = {row.model for row in kit.info.models if row.part == "test"}
    models = [model for model in plan.reference_models if model.member.spec.id in held_out]
    stolen = [m.member for m in models if m.group == "piracy"]
    homologous = [m.member for m in models if m.group == "homologous"]
    modified = _spread(stolen, chosen.n_stolen)
    base = [Member(Role.VICTIM, plan.victim), *modified, *homologous[: chosen.n_negatives]]
    modifications = replace(
        config.modifications,
        n_piracy=len(modified),
        n_homologous=chosen.n_negatives,
        victim=True,
        n_adversarial=chosen.n_adversarial,
        adversarial_iterations=ModificationConfig().adversarial_iterations,
    )
    architectures = plan.config.zoo.architectures
    return [
        *stolen,
        *homologous,
        *modified_members(modifications, base, architectures),
        *control_members(chosen.controls, [*modified, *homologous]),
    ]


def _spread(members: Sequence[Member], n: int) -> list[Member]:
    """The first of every way of stealing, then the second ones."""
    by_way: dict[str, list[Member]] = {}
    for member in members:
        assert isinstance(member.spec.origin, Extracted)
        by_way.setdefault(f"{member.spec.origin.attack}:{member.spec.origin.labels}", []).append(member)
    longest = max(map(len, by_way.values()), default=0)
    return [group[i] for i in range(longest) for group in by_way.values() if i < len(group)][:n]


def judged_model(context: TaskContext, kit: Kit, member: Member) -> JudgedModel:
    """The verdict on the labels of one model, for every number of churn points."""
    assert kit.churn is not None
    spec = member.spec
    labels = LABEL.apply(predict_probabilities(context.net(spec), from_8_bits(kit.images)))
    assert kit.input_check is not None
    n_checked = len(kit.input_check.first)
    found = {}
    for n in kit.churn.budgets.tolist():
        (verdict,) = judge(kit, [SuspectResponses(spec.id, labels, LABEL, n_churn_points=n)])
        found[str(n + n_checked)] = verdict.p_value
    accuracy = context.store.get("model", spec.id).info["accuracy"]
    return JudgedModel(member.role, kind_of(member), spec.architecture, accuracy, found)


def kind_of(member: Member) -> str:
    """What was done to it, as the table groups it."""
    spec = member.spec
    changes = spec.modifications
    if changes and isinstance(changes[-1], AdversarialTraining):
        return changes[-1].description
    if changes:
        return ", ".join(change.description for change in changes)
    if member.role == Role.MIXED_PIRACY:
        assert isinstance(spec.origin, Extracted)
        return f"{spec.origin.true_share:g} of the labels true"
    if member.role == Role.OTHER_ARCHITECTURE:
        return f"{spec.architecture} net"
    return {Role.SECOND_HAND_PIRACY: "stolen at second hand"}.get(member.role, "as it is")


def table(kit: Kit, chosen: ModifiedSuspects, judged: Sequence[JudgedModel], n_failed: int) -> str:
    """Markdown."""
    alpha = kit.alpha + 1e-12
    lines = [
        f"`{chosen.preset}`, seed {chosen.seed}, {chosen.precision}: suspects accused at alpha {kit.alpha:g} by "
        f"{kit.decided_by(LABEL, 0)} on labels, each judged alone [95 %, Clopper-Pearson over models]; {n_failed} "
        "models could not be made.",
        "",
    ]
    budgets = list(judged[0].p_values)
    header = ["suspect", "what was done", "models", "accuracy", *(f"{n} images" for n in budgets)]
    for stolen in (True, False):
        lines += ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        for role, kind, group in _grouped([one for one in judged if one.stolen == stolen]):
            accuracy = sum(one.accuracy for one in group) / len(group)
            cells = [_share([one.p_values[n] <= alpha for one in group]) for n in budgets]
            lines.append(f"| {role} | {kind} | {len(group)} | {accuracy:.3f} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _grouped(judged: Sequence[JudgedModel]) -> Iterator[tuple[str, str, list[JudgedModel]]]:
    groups: dict[tuple[str, str], list[JudgedModel]] = {}
    for one in judged:
        groups.setdefault((one.role, one.kind), []).append(one)
    return ((role, kind, group) for (role, kind), group in groups.items())


def _share(accused: Sequence[bool]) -> str:
    n, of = sum(accused), len(accused)
    low, high = clopper_pearson(n, of)
    return f"{n}/{of} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main(job)
