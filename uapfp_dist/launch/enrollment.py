"""Run an enrolment from a configuration to a kit on disk, here or on Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, check_runtime, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.cost import WorkerRoom, say_cost
from uapfp_dist.launch.environment import environment
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.other_precision import in_other_precision
from uapfp_dist.launch.private_seed import draw_seed, read_seed, write_seed
from uapfp_dist.launch.save_kit import save_with_register
from uapfp_dist.launch.tracker import closing_run, open_tracker
from uapfp_dist.launch.workers import default_auth_mode, own_device, owner_seconds_of, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec, wire_form
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tasks.specs import DataSpec, ModelSpec
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.enroll import enroll
from uapfp_dist.verification.enrollment.owner_images import read_index
from uapfp_dist.verification.enrollment.owner_model import (
    OwnerModel,
    OwnerSiblings,
    import_owner_model,
    read_owner_model,
)
from uapfp_dist.verification.enrollment.owner_victim import NO_SIBLINGS
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.reports.kit_fields import kit_tags, show_kit


@dataclass(frozen=True)
class OwnerFiles:
    """The owner's own model; without one the preset's victim is trained."""

    model: Path | None = None
    """Weights of your model, a safetensors file (default: a victim is trained)."""
    architecture: str | None = None
    """Architecture of your model: a name, or package.module:factory of your code. resnet18 is torchvision's own net,
    at its size or that of resnet18@SIDE; resnet18-small is its variant for small images; timm:NAME is one of timm's. A
    factory is a factory(n_classes, shape) -> module, on the import path of every node; its module takes images in
    [0, 1] and gives logits."""
    mean: tuple[float, ...] | None = None
    """Per channel, subtracted from images in [0, 1] before the model sees them."""
    std: tuple[float, ...] | None = None
    """Per channel, divided by after that."""
    trained_on: Path | None = None
    """Text file that lists its training images, one a line (default: half of D). An image is named by its path below
    the data folder (train/cats/1.jpg), its index, or its line of the list that uapfp images writes."""
    train: str | None = None
    """package.module:function of your own code that trains a sibling of it. It is a function(images, labels, seed,
    device) -> module that trains as the model was trained, from the given seed: on (N, c, h, w) images in [0, 1] and
    (N,) labels, on the device. It is on the import path of every node; the module is one that the architecture's
    factory makes. A change of its file makes siblings anew; after one in what it imports, take another storage. Needs
    trained_on."""
    siblings: Path | None = None
    """In the place of train: a folder of siblings that you trained, as safetensors files. Needs trained_on."""
    ignore_surplus: bool = False
    """Leave out tensors in those files that the architecture does not have, such as an optimizer's."""


def run_enrollment(
    config: Config,
    name: str,
    seed: int | None,
    requirements: EnrollConfig,
    runtime: RuntimeConfig,
    out: Path,
    owner: OwnerFiles | None = None,
) -> Kit:
    """Enroll a victim and save the kit; running it again resumes.

    Args:
        config: data, zoo, extraction, UAP, fingerprint and encoder as in an evaluation.
        name: its preset.
        seed: every random choice follows from it; None: a private one, drawn and kept in a file beside the kit.
        requirements: what the kit must decide.
        runtime: storage, workers and so on.
        out: folder of the kit, a new one.
        owner: the owner's model; None trains the victim of `config`.

    Raises:
        UserError: anything wrong with the input; too few models could be made.
    """
    torch.set_num_threads(1)
    check_runtime(runtime)
    paths = resolve(runtime)
    config = with_precision(config, runtime.gpus_per_worker)
    owner_model, dataset = _read_input(config, name, owner or OwnerFiles(), paths, out)
    known = read_seed(out) if seed is None else seed
    number = draw_seed() if known is None else known
    victim = owner_model.victim if owner_model else None
    plan = plan_enrollment(config, requirements, number, dataset, victim)
    plan = replace(plan, seed_is_private=seed is None)
    _check_there(out, plan)
    store, progress = Store(paths.storage), Progress(workers=1)
    if known is None:
        write_seed(out, number)
    if plan.requirements != requirements:
        progress.say(NO_SIBLINGS)
    context = TaskContext(store, paths.data_root, torch.device("cpu"), dataset)
    if owner_model is not None:
        accuracy = import_owner_model(owner_model, context, plan, dataset)
        progress.say(f"your model: accuracy {accuracy:.3f} on images held out")

    def specs_of(config: Config) -> list[Spec]:
        return plan_enrollment(config, requirements, number, dataset, victim).specs

    params, tags = _params(plan), {"job": "enroll", "preset": f"enroll-{name}", **environment()}
    tracker = open_tracker(paths)
    live = LiveTracker(tracker)
    with (
        closing_run(live.end_run),
        workers(runtime, paths, store, plan.victim.data, progress) as made_by,
    ):
        cost = partial(cost_of, plan.specs, plan.siblings)
        if said := in_other_precision(config, store, specs_of):
            progress.say(said)
        say_cost(cost, context, made_by.room, runtime.max_hours, progress)
        live.start_run(plan.id, params, tags)

        def on_model(spec: ModelSpec) -> None:
            live.log_model(store.get(*spec.artifact).info["accuracy"])

        kit = enroll(plan, dataset, store, made_by.pool, progress, on_model)
        save_with_register(kit, out)
        try:
            tracker.start_run(plan.id, params, tags | kit_tags(kit))
            show_kit(tracker, kit, out)
        except ConnectionError as error:
            progress.say(f"{error}; the kit is in {out}, the same command shows it in MLflow later")
    return kit


def _read_input(
    config: Config, name: str, owner: OwnerFiles, paths: ResolvedPaths, out: Path
) -> tuple[OwnerModel | None, Dataset]:
    """What can be wrong with the input is found before the data are read, or anything is trained."""
    read = None
    if owner.model is not None and owner.architecture is not None:
        siblings = OwnerSiblings(owner.train, owner.siblings)
        width = config.zoo.width
        read = partial(
            read_owner_model,
            owner.model,
            owner.architecture,
            width,
            owner.mean,
            owner.std,
            siblings=siblings,
            ignore_surplus=owner.ignore_surplus,
        )
        read()
    elif owner.model is not None:
        raise UserError("model: expected an architecture with it, got none; give both", argument="architecture")
    elif owner != OwnerFiles():
        raise UserError(
            "architecture, mean, std, trained_on, train, siblings, ignore_surplus: expected with the file of a model, "
            "got none; give it, or leave them out",
            argument="model",
        )
    if out.is_symlink() or (out.exists() and not (out / "kit.json").is_file()):
        raise UserError(f"out: expected a new folder, {out} is there already; choose another", argument="out")
    dataset = load_images(config.data, paths, enroll_preset(name).data.train_share)
    if read is None:
        return None, dataset
    return read(trained_on=read_index(owner.trained_on, dataset) if owner.trained_on else None), dataset


def _check_there(out: Path, plan: EnrollmentPlan) -> None:
    """A kit that is there already must be the one to make, with its register: not found out after hours of training."""
    if not (out / "kit.json").is_file():
        return
    kit = load_kit(out)
    if kit.info.enrollment != plan.id:
        raise UserError(
            f"out: expected a new folder, {out} holds the kit of another enrolment, made with other options, data, "
            "model or training file; choose another folder, or the options of before",
            argument="out",
        )
    if kit.churn is not None:
        Register.open(register_path(out), kit.digest)


@dataclass(frozen=True)
class Workers:
    """What makes the models."""

    pool: Pool
    room: WorkerRoom


@contextmanager
def workers(
    runtime: RuntimeConfig, paths: ResolvedPaths, store: Store, data: DataSpec, progress: Progress
) -> Iterator[Workers]:
    """This process for 0 workers, else Ray."""
    if runtime.workers == 0:
        device = own_device(runtime)
        context = TaskContext(store, paths.data_root, device, owner_seconds=owner_seconds_of(runtime))
        yield Workers(SerialPool(partial(perform_task, context)), WorkerRoom.here(device))
        return
    default_auth_mode(runtime.address)
    from uapfp_dist.cluster.session import session  # Ray takes seconds to import

    with session(runtime.address) as machine, ray_pool(machine, runtime, paths, store, data, progress) as pool:
        yield Workers(pool, WorkerRoom.on_ray(machine, runtime))


def _params(plan: EnrollmentPlan) -> dict[str, int | float | tuple[str, ...]]:
    """Under wire names, as wire values in tuples: a run of MLflow is found by them again."""
    values = wire_form(plan.requirements)
    seed = {} if plan.seed_is_private else {"seed": plan.seed}
    return seed | {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
