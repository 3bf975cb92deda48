"""A small enrolment on digits: for the tests of enrolments."""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from system import context_on, flags, tiny

from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, SiblingConfig
from uapfp_dist.data import Dataset
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import EVALUATION_ALONE, SET_BY_REQUIREMENTS
from uapfp_dist.verification.enrollment.enroll import enroll
from uapfp_dist.verification.enrollment.owner_victim import OwnerVictim
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.kit.kit import Kit

SMALL = EnrollConfig(
    alpha=0.5,
    attacks=("cloudleak", "knockoff"),
    n_train=2,
    n_train_piracy=1,
    n_test=1,
    n_test_piracy=1,
    n_committee=2,
    n_sets=2,
    n_points=20,
    calibration_factor=1,
)
"""One calibration model per group is enough to decide at alpha .5."""


def small_config() -> Config:
    """Nets that know little more than chance, so a gate that lets them in; few images to compare them on."""
    return replace(tiny(), siblings=SiblingConfig(gate=0.1), churn=ChurnConfig(pool_size=1000))


def enrollment_flags(config: Config) -> list[str]:
    """The options of an enrolment that turn the preset `digits` into `config`, without those that it sets itself."""
    base = preset("digits")
    for name in (*SET_BY_REQUIREMENTS, *EVALUATION_ALONE):
        section, _, field = name.partition(".")
        own, theirs = getattr(config, section), getattr(base, section)
        config = replace(config, **{section: replace(own, **{field: getattr(theirs, field)}) if field else theirs})
    return flags(config)


def small_plan(digits: Dataset, owner_victim: OwnerVictim | None = None, **requirements: Any) -> EnrollmentPlan:
    """A small enrolment on digits, seed 0."""
    return plan_enrollment(small_config(), replace(SMALL, **requirements), 0, digits, owner_victim)


def failing(store: Store, doomed: Callable[[Spec], bool] = lambda spec: True) -> SerialPool:
    """A pool that fails some specs."""
    context = context_on(store)

    def act(spec: Spec) -> None:
        if doomed(spec):
            raise RuntimeError("broken")
        perform_task(context, spec)

    return SerialPool(act)


def run_here(plan: EnrollmentPlan, digits: Dataset, store: Store, pool: SerialPool | None = None) -> Kit:
    """Without Ray and MLflow."""
    pool = pool or SerialPool(partial(perform_task, context_on(store)))
    return enroll(plan, digits, store, pool, quiet())


def quiet() -> Progress:
    """Shown to nobody."""
    return Progress(workers=1, out=io.StringIO())
