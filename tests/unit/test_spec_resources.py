"""What a spec takes of a GPU and of time follows from the nets that it loads, whatever its kind."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import pytest
from black_images import black

from uapfp_dist.cluster.spec_resources import (
    GPU_SHARES,
    LARGE_SECONDS,
    SMALL_SECONDS,
    _loaded,
    gpu_share,
    seconds_for,
)
from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.steps import _STEPS
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.method_configs import SubspaceConfig
from uapfp_dist.tasks.pool_specs import PoolSpec, SiblingPointsSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.specs import ModelSpec, ProbeTwinSpec, SubspaceSpec
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.plan import plan_enrollment

SMALL, LARGE = "cifar10-small", "cifar10"
CHECKPOINT = "with a common start"


@cache
def specs_of(name: str, digits: Dataset) -> tuple[Spec, ...]:
    """What a preset's evaluation makes; `CHECKPOINT`: that of digits with siblings that share their beginning."""
    if name == CHECKPOINT:
        config = preset("digits")
        siblings = replace(config.siblings, repeated=0.5)
        return make_plan(replace(config, siblings=siblings), 0, digits).specs
    config = preset(name)
    return make_plan(config, 0, digits if config.data.name == "digits" else black(config.data.name)).specs


def models_in(value: Any) -> Iterator[ModelSpec]:
    """Every model that a spec holds, however deep."""
    for item in value if isinstance(value, tuple) else (getattr(value, item.name) for item in fields(value)):
        if isinstance(item, ModelSpec):
            yield item
        if isinstance(item, tuple) or is_dataclass(item):
            yield from models_in(item)


@pytest.mark.parametrize("name", [*PRESETS, CHECKPOINT])
def test_a_spec_that_holds_a_model_says_which_it_loads(name: str, digits: Dataset) -> None:
    """Else it would have the share and the time of images alone."""
    for spec in specs_of(name, digits):
        holds = isinstance(spec, ModelSpec) or next(models_in(spec), None) is not None
        assert bool(_loaded(spec)) == holds, spec.kind


def test_so_does_an_enrolment(digits: Dataset) -> None:
    for spec in plan_enrollment(enroll_preset("digits"), EnrollConfig(exact="beside", n_sets=1), 0, digits).specs:
        assert _loaded(spec) or isinstance(spec, PoolSpec), spec.kind


def test_every_kind_of_spec_is_in_those_plans(digits: Dataset) -> None:
    assert {type(spec) for name in (SMALL, CHECKPOINT) for spec in specs_of(name, digits)} == set(_STEPS)


def queried(model: ModelSpec) -> SubspaceSpec:
    """A spec that loads one model, as querying it does; an extracted one is not compared with its victim there."""
    return SubspaceSpec(model, SubspaceConfig(), 0)


@pytest.mark.parametrize(("name", "share", "seconds"), [(SMALL, 0.25, SMALL_SECONDS), (LARGE, 0.5, LARGE_SECONDS)])
def test_references_and_points_of_siblings_take_what_their_models_take(
    name: str, share: float, seconds: float, digits: Dataset
) -> None:
    kinds = ReferenceSpec, ReferenceResponseSpec, SiblingPointsSpec
    found = [spec for spec in specs_of(name, digits) if isinstance(spec, kinds)]
    assert {type(spec) for spec in found} >= {ReferenceSpec, ReferenceResponseSpec}
    assert {type(spec.probe) for spec in found if isinstance(spec, ReferenceSpec)} >= {ProbeTwinSpec}
    for spec in found:
        model = spec.model if isinstance(spec, ReferenceResponseSpec) else None
        expected = (gpu_share(queried(model)), seconds_for(queried(model))) if model else (share, seconds)
        assert (gpu_share(spec), seconds_for(spec)) == expected, spec.kind


def test_images_alone_take_the_smallest_share_and_the_longest_time(digits: Dataset) -> None:
    pool = next(spec for spec in specs_of(SMALL, digits) if isinstance(spec, PoolSpec))
    assert gpu_share(pool) == min(GPU_SHARES.values())
    assert gpu_share(pool, {"A": 0.1}) == 0.1
    assert seconds_for(pool) == LARGE_SECONDS
