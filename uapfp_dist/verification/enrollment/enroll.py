"""Enroll a victim: train its reference models, query them, and build the kit."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset, load
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Failed
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import ModelSpec, OwnerTrained
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.kit_builder import make_kit
from uapfp_dist.verification.enrollment.owner_model import OwnerModel, import_owner_model
from uapfp_dist.verification.enrollment.owner_siblings import DistinctWeights
from uapfp_dist.verification.enrollment.owner_victim import NO_SIBLINGS
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.enrollment.responses import read_enrolled
from uapfp_dist.verification.kit.kit import Kit


def enroll_locally(
    config: Config | str = "digits",
    requirements: EnrollConfig | None = None,
    seed: int = 0,
    *,
    store: Path | str = "results",
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    owner_model: OwnerModel | None = None,
    seed_is_private: bool = False,
    progress: Progress | None = None,
) -> Kit:
    """Enroll in this process, one model after the other, without Ray and MLflow; calling again resumes.

    Args:
        config: a preset by name, or a configuration.
        requirements: what the kit must decide (default: EnrollConfig()).
        seed: every random choice follows from it; whoever knows it can make the victim's siblings.
        store: folder or fsspec URL of artifacts.
        data_root: folder of the images that `config` names; not needed for digits.
        dataset: images at hand, in the place of those.
        owner_model: from `read_owner_model` or `owner_model_of`; None trains the victim of `config`.
        seed_is_private: the kit does not tell the seed: a number that nobody guesses, which you keep to yourself.
        progress: shows how things stand (default: on standard error).

    Raises:
        UserError: anything wrong with the input; too few models could be made.
    """
    config = with_precision(enroll_preset(config) if isinstance(config, str) else config)
    dataset = dataset or load(config.data.name, data_root, config.data.n_classes, config.data.shape)
    owner_victim = owner_model.victim if owner_model else None
    requirements, progress = requirements or EnrollConfig(), progress or Progress(workers=1)
    plan = plan_enrollment(config, requirements, seed, dataset, owner_victim)
    plan = replace(plan, seed_is_private=seed_is_private)
    if plan.requirements != requirements:
        progress.say(NO_SIBLINGS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    context = TaskContext(Store(str(store)), data_root, device, dataset)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of a parallel sum must not change a kit
    try:
        if owner_model is not None:
            import_owner_model(owner_model, context, plan, dataset)
        pool = SerialPool(partial(perform_task, context))
        return enroll(plan, dataset, context.store, pool, progress)
    finally:
        torch.set_num_threads(threads)


def enroll(
    plan: EnrollmentPlan,
    dataset: Dataset,
    store: Store,
    pool: Pool,
    progress: Progress,
    on_model: Callable[[ModelSpec], None] = lambda spec: None,
) -> Kit:
    """Make and query every model of `plan`, and build the kit; what is in the store is not made again.

    Args:
        plan: what is made.
        dataset: its images, for the names of the classes.
        store: artifacts; an imported victim's is there already.
        pool: where specs are performed; closed when the last one is done.
        progress: shows how things stand.
        on_model: called with every model that was made, once it is in the store.

    Raises:
        UserError: too few models could be made; the causes are named. A training function of the owner's that fails,
            hangs, or gives the same weights twice.
    """
    failures = _make_all(plan, store, pool, progress, on_model)
    return make_kit(plan, read_enrolled(plan, store), dataset, failures, progress.say)


def _early_first(plan: EnrollmentPlan) -> list[Spec]:
    """The plan's specs after two siblings by the owner's function: a mistake in it shows before minutes of probing.

    Two, since a function that is deaf to its seed shows by the second. They need nothing and come once all the same.
    """
    by_owner = [spec for spec in plan.siblings if isinstance(spec.origin, OwnerTrained)]
    return [*by_owner[:2], *plan.specs]


def _make_all(
    plan: EnrollmentPlan, store: Store, pool: Pool, progress: Progress, on_model: Callable[[ModelSpec], None]
) -> list[str]:
    """Perform what the store lacks; returns why specs failed.

    Raises:
        UserError: siblings of the same weights.
    """
    progress.expect(plan.specs)
    progress.watch(pool)
    failures: list[str] = []
    distinct = DistinctWeights(store, plan)
    for outcome in run_tasks(_early_first(plan), pool, stored_specs(store, plan.specs), progress.refresh):
        progress.observe(outcome)
        if isinstance(outcome, Failed):
            failures += [] if outcome.skipped else [outcome.error]
        elif isinstance(outcome.spec, ModelSpec):
            distinct.check(outcome.spec)
            on_model(outcome.spec)
    pool.close()
    return failures
