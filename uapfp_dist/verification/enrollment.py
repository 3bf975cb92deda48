"""Enroll a victim: train its reference models, query them, and build the kit."""

from functools import partial
from pathlib import Path

import torch

from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset, load
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import Pool, SerialPool
from uapfp_dist.tasks.outcomes import Failed
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.tracking.tracker import NullTracker
from uapfp_dist.verification.enroll_config import EnrollConfig, enroll_preset
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_builder import make_kit
from uapfp_dist.verification.owner import OwnerModel, import_owner_model
from uapfp_dist.verification.reference_models import EnrollmentPlan, plan_enrollment


def enroll_locally(
    config: Config | str = "digits",
    wanted: EnrollConfig | None = None,
    seed: int = 0,
    *,
    store: Path | str = "results",
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    own: OwnerModel | None = None,
    progress: Progress | None = None,
) -> Kit:
    """Enroll in this process, one model after the other, without Ray and MLflow; calling again resumes.

    Args:
        config: a preset by name, or a configuration.
        wanted: what the kit must decide (default: EnrollConfig()).
        seed: every random choice follows from it.
        store: folder or fsspec URL of artifacts.
        data_root: where the images that `config` names lie; not needed for digits.
        dataset: images at hand, in the place of those.
        own: the owner's model, from `read_owner` or `owner_of`; None trains the victim of `config`.
        progress: tells a person how things stand (default: on standard error).

    Raises:
        UserError: anything wrong with the input; too few models could be made.
    """
    config = enroll_preset(config) if isinstance(config, str) else config
    dataset = dataset or load(config.data.name, data_root, config.data.n_classes)
    plan = plan_enrollment(config, wanted or EnrollConfig(), seed, dataset, own.victim if own else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    context = TaskContext(Store(str(store)), data_root, device, dataset)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of a parallel sum must not change a kit
    try:
        if own is not None:
            import_owner_model(own, context, plan.victim, dataset)
        return enroll(
            plan, dataset, context.store, SerialPool(partial(perform_task, context)), progress or Progress(workers=1)
        )
    finally:
        torch.set_num_threads(threads)


def enroll(
    plan: EnrollmentPlan,
    dataset: Dataset,
    store: Store,
    pool: Pool,
    progress: Progress,
    tracker: LiveTracker | None = None,
) -> Kit:
    """Make every model of `plan`, ask it, and put the kit together; what is in the store is not done again.

    Args:
        plan: what is made.
        dataset: its images, for the names of the classes.
        store: artifacts; an imported victim's lies there already.
        pool: where specs are performed; closed when the last one is done.
        progress: tells a person how things stand.
        tracker: hears of every trained model.

    Raises:
        UserError: too few models could be made; the causes are named.
    """
    tracker = tracker or LiveTracker(NullTracker())
    progress.expect(plan.specs)
    progress.watch(pool)
    failures: list[str] = []
    for outcome in run_tasks(plan.specs, pool, stored_specs(store, plan.specs), progress.refresh):
        progress.observe(outcome)
        if isinstance(outcome, Failed):
            failures += [] if outcome.skipped else [outcome.error]
        elif isinstance(outcome.spec, ModelSpec):
            tracker.log_model(store.get("model", outcome.spec.id).info["accuracy"])
    pool.close()
    progress.say("learning the scorers")
    return make_kit(plan, dataset, store, failures)
