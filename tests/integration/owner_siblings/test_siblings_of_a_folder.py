"""Siblings from a folder of weights: taken by name, refused where they are none."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from owners_net import OwnersNet
from owners_siblings import FEW, N_SIBLINGS, imported, owner, sha256_of, train
from safetensors.torch import load_file, save_file
from small_enrollment import SMALL, run_here, small_config, small_plan
from system import context_on

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import Imported
from uapfp_dist.verification.enrollment.owner_model import (
    import_owner_model,
)
from uapfp_dist.verification.enrollment.plan import plan_enrollment


def test_siblings_of_a_folder_are_taken_by_name(
    digits: Dataset, victim: OwnersNet, folder: Path, tmp_path: Path
) -> None:
    """The first make the committee, from the others models are stolen; a file is the same model wherever it stands."""
    store, model = Store(str(tmp_path / "s")), owner(victim, folder=folder)
    plan = imported(model, digits, store)
    assert plan.churn is not None
    for number, spec in enumerate(plan.churn.siblings, start=2):
        assert isinstance(spec.origin, Imported)
        assert spec.origin.weights == sha256_of(folder / f"{number}.safetensors")
        weights, stored = load_file(folder / f"{number}.safetensors"), store.get("model", spec.id).tensors
        assert all(torch.equal(weights[name], stored[f"module.{name}"]) for name in weights)
    assert cost_of(plan.specs, plan.siblings, context_on(store)).siblings == 0
    kit = run_here(plan, digits, store)
    assert any("which the owner trained" in limit for limit in kit.info.limits)
    fewer = small_plan(digits, model.victim, **FEW, n_committee=3, n_train=1 + 1, n_test=0)
    assert fewer.churn is not None
    assert {spec.id for spec in plan.siblings} == {spec.id for spec in fewer.siblings}
    assert fewer.id != plan.id
    shutil.copytree(folder, tmp_path / "more")
    save_file(train(digits, 50).state_dict(), tmp_path / "more" / "1.safetensors")
    more = small_plan(digits, owner(victim, folder=tmp_path / "more").victim, **FEW)
    assert len({spec.id for spec in more.siblings} & {spec.id for spec in plan.siblings}) == N_SIBLINGS - 1


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (
            lambda place, net: save_file(net.state_dict(), place / "5b.safetensors"),
            "5b.safetensors has those of the victim",
        ),
        (
            lambda place, net: shutil.copy(place / "4.safetensors", place / "9.safetensors"),
            "9.safetensors has those of 4.safetensors",
        ),
        (
            lambda place, net: save_file(
                load_file(place / "2.safetensors"), place / "3.safetensors", {"written": "again"}
            ),
            "3.safetensors has those of 2.safetensors",
        ),
        (
            lambda place, net: (place / "4.safetensors").unlink(),
            r"expected 6 files \(2 for the committee, 4 outside it for the group sibling\), got 5",
        ),
        (
            lambda place, net: save_file(OwnersNet(11, (1, 8, 8)).state_dict(), place / "2.safetensors"),
            "2.safetensors: .*tensors of this architecture",
        ),
        (
            lambda place, net: save_file(
                {name: tensor * torch.nan for name, tensor in net.state_dict().items()}, place / "3.safetensors"
            ),
            "3.safetensors: .*NaN",
        ),
        (lambda place, net: (place / "3.safetensors").write_bytes(b"torn"), "3.safetensors: .*safetensors"),
        (lambda place, net: shutil.rmtree(place), "a folder at .*No such file"),
        (lambda place, net: [path.unlink() for path in place.glob("*.safetensors")], "found none"),
    ],
)
def test_folders_that_hold_no_siblings_are_refused(
    spoil: Callable[[Path, OwnersNet], object],
    word: str,
    digits: Dataset,
    victim: OwnersNet,
    folder: Path,
    tmp_path: Path,
) -> None:
    """In one line, before anything is trained."""
    place = tmp_path / "siblings"
    shutil.copytree(folder, place)
    spoil(place, victim)
    with pytest.raises(UserError, match=f"siblings: .*{word}") as caught:
        imported(owner(victim, folder=place), digits, Store(str(tmp_path / "s")))
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "siblings"


def test_a_sibling_below_the_gate_is_named(digits: Dataset, victim: OwnersNet, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "siblings"
    shutil.copytree(folder, place)
    save_file(OwnersNet(10, (1, 8, 8)).state_dict(), place / "3.safetensors")
    config = replace(small_config(), siblings=replace(small_config().siblings, gate=0.6))
    model = owner(victim, folder=place)
    plan = plan_enrollment(config, replace(SMALL, **FEW), 0, digits, model.victim)
    store = Store(str(tmp_path / "s"))
    with pytest.raises(UserError, match=r"siblings\.gate: .* of 3\.safetensors; lower it"):
        import_owner_model(model, context_on(store), plan, digits)
    assert sum(store.has("model", spec.id) for spec in plan.siblings) == 1, "the one before it"


def test_a_file_that_changed_since_is_not_taken(
    digits: Dataset, victim: OwnersNet, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "siblings"
    shutil.copytree(folder, place)
    model = owner(victim, folder=place)
    shutil.copy(place / "4.safetensors", place / "2.safetensors")
    with pytest.raises(UserError, match=r"2\.safetensors as it was"):
        imported(model, digits, Store(str(tmp_path / "s")))
