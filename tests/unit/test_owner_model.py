"""The owner's model: weights, preprocessing, the images it was trained on."""

import importlib
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from owners_net import make, trained
from safetensors.torch import save_file
from small_enrollment import SMALL, quiet, run_here, small_config, small_plan
from system import context_on
from torch import Tensor

from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.context import TaskContext, around
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.pixels import as_float
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import Imported
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.enrollment.owner_images import check_splits, put_index, read_index
from uapfp_dist.verification.enrollment.owner_model import check_knows, owner_model_of, read_owner_model
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses


def save(weights: Mapping[str, Tensor], path: Path) -> None:
    """As an owner would."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)


def owner_weights(folder: Path, digits: Dataset, digits_splits: Splits) -> Path:
    """Trained a little on D_v, by the owner's own code."""
    index = digits_splits.d_v
    net = trained(digits.pixels(index), digits.labels[index], digits.n_classes)
    save_file(net.state_dict(), folder / "owner.safetensors")
    return folder / "owner.safetensors"


def test_the_owners_module_is_enrolled(digits: Dataset, digits_splits: Splits, tmp_path: Path) -> None:
    """By import path, its preprocessing inside: the kit holds its responses, some copies are of its architecture."""
    path = owner_weights(tmp_path, digits, digits_splits)
    owner = read_owner_model(path, "owners_net:make", 4)
    plan = small_plan(digits, owner.victim, groups=("homologous",), labels=(PROBABILITIES,))
    assert isinstance(plan.victim.origin, Imported)
    assert "owners_net:make" in {s.member.spec.architecture for s in plan.reference_models}
    assert "A" not in {s.member.spec.architecture for s in plan.reference_models}
    store = Store(str(tmp_path / "store"))
    assert owner.put(context_on(store), plan.victim) > 0.8
    kit = run_here(plan, digits, store)
    module = make(digits.n_classes, digits.shape)
    module.load_state_dict(owner.weights)
    responses = module(as_float(kit.images)).softmax(1)
    assert torch.allclose(responses, kit.victim, atol=1e-5)
    assert kit.info.victim.imported
    assert any("half of the data" in limit for limit in kit.info.limits)
    verdict = judge(kit, [SuspectResponses("module", responses.detach(), PROBABILITIES)])[0]
    assert verdict.similarity == pytest.approx(1.0, abs=1e-5)
    assert verdict.not_calibrated_against == ("same_data", "other_victim")
    # The same module from memory is the same victim, and everything is there already.
    same = owner_model_of(module, "owners_net:make")
    requirements = replace(SMALL, groups=("homologous",), labels=(PROBABILITIES,))
    found = enroll_locally(small_config(), requirements, store=store.url, owner_model=same, progress=quiet())
    assert found.info.victim == kit.info.victim
    again = small_plan(digits, same.victim, groups=("homologous",), labels=(PROBABILITIES,))
    assert cost_of(again.specs, again.siblings, context_on(store)).models == 0


def test_an_edited_factory_makes_other_models(
    digits: Dataset, digits_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal weights in another forward pass: nothing that was made with the old code stands for the new."""
    monkeypatch.syspath_prepend(tmp_path)
    code = tmp_path / "edited_net.py"
    weights = owner_weights(tmp_path, digits, digits_splits)
    plans = []
    for body in ("from owners_net import make\n", "from owners_net import make  # of today\n"):
        code.write_text(f"{body}\ndef net(n_classes, shape):\n    return make(n_classes, shape)\n")
        importlib.invalidate_caches()
        sys.modules.pop("edited_net", None)
        victim = read_owner_model(weights, "edited_net:net", 4).victim
        plans.append(small_plan(digits, victim, groups=("homologous",), labels=(PROBABILITIES,)))
    before, after = ({m.member.spec.id for m in plan.reference_models} for plan in plans)
    assert before.isdisjoint(after)
    context = context_on(Store(str(tmp_path / "store")))
    assert isinstance(context.empty(plans[1].victim), CustomNet)
    with pytest.raises(UserError, match="edited_net:net: expected the file that the enrolment began with, this one"):
        context.empty(plans[0].victim)


def test_a_known_architecture_with_the_owners_preprocessing(
    victim: Net, digits: Dataset, own: Tensor, tmp_path: Path
) -> None:
    """Weights without mean and standard deviation, given beside them, are the same net."""
    weights = {name: t for name, t in victim.state_dict().items() if name not in ("mean", "std")}
    save(weights, tmp_path / "a.safetensors")
    mean, std = (tuple(getattr(victim, name).flatten().tolist()) for name in ("mean", "std"))
    owner = read_owner_model(tmp_path / "a.safetensors", "A", 8, mean, std)
    plan = small_plan(digits, owner.victim)
    context = context_on(Store(str(tmp_path / "s")))
    owner.put(context, plan.victim)
    assert torch.allclose(
        predict_probabilities(context.net(plan.victim), own), predict_probabilities(victim, own), atol=1e-6
    )


@pytest.mark.parametrize("name", ["owner.onnx", "owner.pt", "owner.pth", "owner.pkl", "owner.safetensors"])
def test_other_files_are_refused_with_the_reason_and_never_run(name: str, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / name).write_bytes(pickle.dumps(Malice()))
    reason = {"onnx": "no gradients", "safetensors": "safetensors"}.get(name.split(".")[1], "may be a pickle")
    with pytest.raises(UserError, match=reason) as caught:
        read_owner_model(tmp_path / name, "A", 8)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="weights"):
        read_owner_model(tmp_path / "none.safetensors", "A", 8)


@pytest.mark.parametrize(
    ("architecture", "spoil", "word"),
    [
        ("A", lambda w: {n: t for n, t in w.items() if n != "last.bias"}, "last.bias"),
        ("A", lambda w: w | {"last.weight": w["last.weight"][:5]}, "last.weight"),
        ("A", lambda w: w | {"last.bias": w["last.bias"] * torch.nan}, "NaN"),
        ("A", lambda w: w | {"last.weight": -w["last.weight"]}, "chance"),
        ("B", lambda w: w, "tensors of this architecture"),
        ("owners_net:make_nothing", lambda w: w, "module"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    architecture: str, spoil: Callable[[Any], Any], word: str, victim: Net, digits: Dataset, tmp_path: Path
) -> None:
    save(spoil(dict(victim.state_dict())), tmp_path / "w.safetensors")
    owner = read_owner_model(tmp_path / "w.safetensors", architecture, 8)
    plan = small_plan(digits, owner.victim)
    store = Store(str(tmp_path / "s"))
    with pytest.raises(UserError, match=word) as caught:
        owner.put(context_on(store), plan.victim)
    assert "\n" not in str(caught.value)
    assert not store.has("model", plan.victim.id)


@pytest.mark.parametrize("architecture", ["nobody:make", "owners_net:nothing"])
def test_a_factory_that_is_not_there_is_one_line(architecture: str, victim: Net, tmp_path: Path) -> None:
    save(victim.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=f"architecture {architecture}: expected package.module:factory") as caught:
        read_owner_model(tmp_path / "w.safetensors", architecture, 8)
    assert "\n" not in str(caught.value)


def test_images_of_the_owner_train_nobody_else(digits: Dataset, victim: Net, tmp_path: Path) -> None:
    """They become D_v; nobody else's held-out images have any; every worker splits alike."""
    index = torch.arange(0, 900, 2)
    (tmp_path / "index.txt").write_text("\n".join(map(str, index.tolist())))
    found = read_index(tmp_path / "index.txt", digits)
    assert torch.equal(found, index)
    save(victim.state_dict(), tmp_path / "w.safetensors")
    owner = read_owner_model(tmp_path / "w.safetensors", "A", 8, trained_on=found)
    plan = small_plan(digits, owner.victim)
    context = context_on(Store(str(tmp_path / "s")))
    put_index(context.store, found, digits)
    check_splits(context, plan.victim)
    _, splits = context.data(plan.victim.data)
    assert torch.equal(splits.d_v, index)
    assert torch.isin(index, splits.d).all()
    for name in ("probe", "attack", "eval"):
        assert not torch.isin(getattr(splits, name), index).any()
    seen = {s.member.spec.recipe.samples_seen for s in plan.reference_models}
    assert seen == {round(4.0 * 450)}
    assert {s.member.spec.data for s in plan.reference_models} == {plan.victim.data}


@pytest.mark.parametrize("text", ["", "1\n1\n", "-1\n" * 30, "a\n", "\n".join(map(str, range(1700, 1900)))])
def test_lists_of_images_that_are_none_are_refused(text: str, digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "index.txt").write_text(text)
    with pytest.raises(UserError, match="trained_on") as caught:
        read_index(tmp_path / "index.txt", digits)
    assert "\n" not in str(caught.value)


def refusal(index: Tensor, data: Dataset, victim: Net, folder: Path) -> str:
    """Why a victim that was trained on these images cannot be enrolled."""
    save(victim.state_dict(), folder / "w.safetensors")
    owner = read_owner_model(folder / "w.safetensors", "A", 8, trained_on=index)
    context = TaskContext(Store(str(folder / "s")), None, torch.device("cpu"), data)
    put_index(context.store, index, data)
    with pytest.raises(UserError, match="trained_on: expected at least 20 images for each use by others") as caught:
        check_splits(context, small_plan(data, owner.victim).victim)
    assert caught.value.argument == "trained_on"
    said = str(caught.value)
    assert said.isprintable()
    assert "{" not in said
    return said


def test_a_victim_trained_on_everything_cannot_be_enrolled(digits: Dataset, victim: Net, tmp_path: Path) -> None:
    """Nothing is left to extract with, or to measure by."""
    said = refusal(torch.arange(len(digits.labels)), digits, victim, tmp_path)
    assert "leaves 0 to train and steal the other models with, 0 for PROBE, 0 for ATTACK, 0 for EVAL;" in said
    assert "data.train_share" in said


def test_a_victim_trained_on_the_whole_train_folder_is_told_to_keep_images_back(
    digits: Dataset, victim: Net, tmp_path: Path
) -> None:
    """However many test images there are: no model trains on those."""
    said = refusal(torch.arange(1200), replace(digits, n_train=1200), victim, tmp_path)
    assert said.endswith(
        "; for the other models add training images (of a folder: to train/) that it was not trained on"
    )
    assert "leaves 0 to train" in said


def test_test_images_shared_out_badly_are_told_apart_from_too_few(digits: Dataset, victim: Net, tmp_path: Path) -> None:
    """Another share for each helps where there are enough of them in all."""
    n = len(digits.labels)
    said = refusal(torch.arange(600), replace(digits, n_train=n - 90), victim, tmp_path)
    assert "change data.outside_shares, or add test images (of a folder: to test/) that it was not trained on" in said
    said = refusal(torch.arange(600), replace(digits, n_train=n - 30), victim, tmp_path)
    assert "outside-shares" not in said
    assert said.endswith(
        "; for PROBE, ATTACK and EVAL add test images (of a folder: to test/) that it was not trained on"
    )


def test_splits_around_a_set_stay_splits(digits_splits: Splits) -> None:
    index = torch.cat([digits_splits.d_v[:100], digits_splits.probe[:30]])
    split = around(digits_splits, index)
    assert torch.equal(split.probe, outside_of(digits_splits.probe, index))
    assert torch.equal(split.attack, digits_splits.attack)
    assert set(split.d.tolist()) == {*digits_splits.d.tolist(), *index.tolist()}


def test_the_owners_module_keeps_its_preprocessing_in_copies_too(own: Tensor) -> None:
    net = CustomNet("owners_net:make", (1, 8, 8), 10)
    before = net(own[:4])
    net.normalise_by(own)
    assert torch.equal(net(own[:4]), before)


@pytest.mark.parametrize(
    ("n_classes", "accuracy", "known"),
    [
        (2, 0.6, True),
        (2, 0.89, True),
        (2, 0.5, False),
        (2, 0.05, False),  # the other order
        (3, 0.6, True),
        (3, 0.34, False),  # two of them exchanged
        (4, 0.51, True),
        (4, 0.48, False),  # two of them exchanged
        (10, 0.21, True),
        (10, 0.19, False),
    ],
)
def test_a_model_must_know_more_than_chance(n_classes: int, accuracy: float, known: bool) -> None:
    context: Any = SimpleNamespace(data=lambda spec: (SimpleNamespace(n_classes=n_classes), None))
    spec: Any = SimpleNamespace(data=None)
    if known:
        check_knows(context, spec, accuracy)
        return
    with pytest.raises(UserError, match=rf"accuracy on unseen images is {accuracy:.3f} .*the order of classes"):
        check_knows(context, spec, accuracy)
