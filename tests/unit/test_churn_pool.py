"""The pool of churn points: no model trained on its images, and one gate binds the victim and its siblings."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from system import context_on, tiny, tiny_plan, tiny_with_siblings
from torch import Tensor

from uapfp_dist.config.schema import ModificationConfig, StudyConfig
from uapfp_dist.data import Dataset, Splits, make_splits
from uapfp_dist.execution.churn_artifacts import read_churn
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import GateError
from uapfp_dist.execution.steps import churn_step, perform_task
from uapfp_dist.fingerprints.blocks import CHURN, CHURN_NATURAL, CHURN_RANDOM, CHURN_UAP
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.specs import ModelSpec


def test_no_model_trains_on_an_image_of_the_pool(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image that is read while a model of any kind is made, modified ones too, lies outside PROBE."""
    config = replace(
        tiny_with_siblings(),
        modifications=ModificationConfig(
            1, 0, fine_tune_epochs=1.0, prune=(0.4,), n_adversarial=1, adversarial_iterations=1
        ),
        studies=StudyConfig(n_trajectories=1, recoveries=(0.2,), n_overlap=1, overlaps=(0.5,)),
    )
    plan, store = tiny_plan(config), Store(str(tmp_path))
    splits = make_splits(digits, plan.data)
    probe = set(splits.probe.tolist())
    parts = {name: set(getattr(splits, name).tolist()) for name in ("d", "attack", "eval")}
    assert not any(probe & part for part in parts.values())
    assert set(splits.d_v.tolist()) <= parts["d"]
    read: set[int] = set()
    pixels = Dataset.pixels

    def recorded(self: Dataset, index: Tensor, *device: object) -> Tensor:
        read.update(index.tolist())
        return pixels(self, index, *device)  # type: ignore[arg-type]

    context = context_on(store)
    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "pixels", recorded)
        for spec in plan.specs:
            if isinstance(spec, ModelSpec) or spec.kind == "trajectory":
                perform_task(context, spec)
    roles = {member.role for member in plan.members}
    assert {Role.SIBLING, Role.SIBLING_PIRACY, Role.MODIFIED_PIRACY, Role.CHECKPOINT_PIRACY} <= roles
    assert read
    assert not read & probe
    assert plan.churn is not None
    perform_task(context, plan.probe)
    perform_task(context, plan.churn)
    points = read_churn(store.get("churn", plan.churn.id))
    assert {CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM} >= set(points) >= {CHURN}
    assert all(set(each.base.tolist()) <= probe for each in points.values())


def test_a_victim_below_the_gate_of_its_siblings_is_refused(digits: Dataset, digits_splits: Splits) -> None:
    """One gate binds all: a victim that siblings of its accuracy could not join is not compared with them."""
    plan = tiny_plan(tiny_with_siblings())
    store = SimpleNamespace(get=lambda kind, id_: SimpleNamespace(info={"accuracy": 0.19}))
    context = SimpleNamespace(data=lambda spec: (digits, digits_splits), store=store)
    assert plan.churn is not None
    with pytest.raises(GateError) as caught:
        churn_step(cast(TaskContext, context), plan.churn)
    assert str(caught.value) == (
        "victim: expected an accuracy of at least 0.2, which binds it and its siblings alike, got 0.1900; lower the "
        "gate of the siblings"
    )
    assert tiny_plan(tiny()).churn is None
