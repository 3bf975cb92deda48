"""An owner's function that fails, hangs, is deaf to its seed or misses the gate; mended, it resumes."""

from dataclasses import replace
from pathlib import Path

import owners_training
import pytest
from owners_net import OwnersNet
from owners_siblings import CPU, FEW, by, imported, train
from small_enrollment import SMALL, run_here, small_config
from system import context_on, wait_until

from uapfp_dist.concurrency import is_foreign_code_running
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import GateError
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.enrollment.owner_model import (
    import_owner_model,
)
from uapfp_dist.verification.enrollment.plan import plan_enrollment


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("fails", r"failed \(ZeroDivisionError: at once, owners_training.py"),
        ("leaves", "SystemExit"),
        ("out_of_time", "failed .TimeoutError: no answer"),
        ("gives_nothing", "a torch module, it gave NoneType"),
        ("gives_wide", "architecture.*last.bias"),
        ("gives_nan", "NaN"),
        ("gives_softened", "says other than the factory's"),
        ("gives_short", r"shape \(32, 10\).*got \(32, 3\)"),
        ("gives_endless", "finite logits"),
        ("gives_fragile", "ValueError: no images, please"),
    ],
)
def test_a_function_that_does_not_train_a_sibling_ends_the_enrolment(
    name: str, word: str, digits: Dataset, victim: OwnersNet, tmp_path: Path
) -> None:
    """In one line, before the other models and the probe are made; nothing of it is kept."""
    store = Store(str(tmp_path))
    plan = imported(by(name, victim), digits, store)
    with pytest.raises(UserError, match=word) as caught:
        run_here(plan, digits, store)
    assert str(caught.value).startswith(f"train owners_training:{name}: expected ")
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "train"
    assert {spec.id for spec in plan.models if store.has("model", spec.id)} == {plan.victim.id}
    assert not store.has("probe", plan.probe.id)


def test_a_function_that_hangs_is_not_waited_for(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    plan = imported(by("hangs", victim), digits, store)
    hurried = TaskContext(store, None, CPU, owner_seconds=0.05)
    with pytest.raises(UserError, match=r"within 0\.05 s, got none"):
        perform_task(hurried, plan.siblings[0])
    assert is_foreign_code_running()
    wait_until(lambda: not is_foreign_code_running(), 10.0, "the function to end by itself")
    patient = TaskContext(store, None, CPU, owner_seconds=1e12)
    perform_task(patient, plan.siblings[0])
    assert store.has("model", plan.siblings[0].id)


def test_memory_that_others_hold_is_not_the_functions_fault(
    digits: Dataset, victim: OwnersNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may succeed: the error goes its way."""
    plan = imported(by("sometimes", victim), digits, Store(str(tmp_path)))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(owners_training, "BROKEN", True)
    monkeypatch.setattr(owners_training, "fails", full)
    with pytest.raises(MemoryError):
        perform_task(context_on(Store(str(tmp_path))), plan.siblings[0])


def test_a_mended_function_resumes(
    digits: Dataset, victim: OwnersNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Siblings that it trained before stay as they are."""
    store = Store(str(tmp_path))
    plan = imported(by("sometimes", victim), digits, store)
    perform_task(context_on(store), plan.siblings[0])
    first = Path(store.path("model", plan.siblings[0].id)).stat().st_mtime_ns
    monkeypatch.setattr(owners_training, "BROKEN", True)
    with pytest.raises(UserError, match="ZeroDivisionError"):
        run_here(plan, digits, store)
    monkeypatch.setattr(owners_training, "BROKEN", False)
    assert run_here(plan, digits, store).churn is not None
    assert Path(store.path("model", plan.siblings[0].id)).stat().st_mtime_ns == first


def test_a_function_deaf_to_its_seed_is_found_out(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    """Two siblings of the same weights, or one of the victim's: they are removed, so that a mended one trains anew."""
    store = Store(str(tmp_path / "two"))
    plan = imported(by("deaf", victim), digits, store)
    with pytest.raises(UserError, match=r"train owners_training:deaf: .*two siblings have the same") as caught:
        run_here(plan, digits, store)
    assert "\n" not in str(caught.value)
    assert not any(store.has("model", spec.id) for spec in plan.siblings)
    assert not store.has("probe", plan.probe.id), "minutes of work before the second sibling"
    store = Store(str(tmp_path / "victim"))
    plan = imported(by("deaf", train(digits, 5)), digits, store)
    with pytest.raises(UserError, match="the victim and a sibling have the same"):
        run_here(plan, digits, store)
    assert store.has("model", plan.victim.id)


def test_one_gate_binds_the_victim_and_its_siblings(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    """The victim below it: before anything is trained. A sibling below it: after so many attempts it has failed."""
    model = by("untrained", victim)
    strict = replace(small_config(), siblings=replace(small_config().siblings, gate=0.99))
    plan = plan_enrollment(strict, replace(SMALL, **FEW), 0, digits, model.victim)
    read = r"check data\.size, mean, std and the order of classes; if this is its accuracy, lower the gate$"
    with pytest.raises(UserError, match=rf"siblings\.gate: .*0\.99.*of the victim; {read}") as caught:
        import_owner_model(model, context_on(Store(str(tmp_path / "strict"))), plan, digits)
    assert caught.value.options == ("data.size", "mean", "std")
    fair = replace(small_config(), siblings=replace(small_config().siblings, gate=0.5))
    plan = plan_enrollment(fair, replace(SMALL, **FEW), 0, digits, model.victim)
    context = context_on(Store(str(tmp_path / "fair")))
    import_owner_model(model, context, plan, digits)
    with pytest.raises(GateError, match="3 attempts"):
        perform_task(context, plan.siblings[0])
