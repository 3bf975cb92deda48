"""Siblings of the owner's own victim: by a training function, or from a folder of weights."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import owners_training
import pytest
import torch
from owners_net import OwnersNet
from safetensors.torch import load_file, save_file
from small_enrollment import SMALL, quiet, run_here, small_config, small_plan
from system import context_on, wait_until

from uapfp_dist.cluster.spec_resources import LARGE_SECONDS, seconds_for
from uapfp_dist.concurrency import is_foreign_code_running
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import GateError
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import seed_of
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.hashing import canonical
from uapfp_dist.tasks.specs import AbsoluteGate, Extracted, Imported, OwnerTrained
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.enrollment.owner_images import put_index
from uapfp_dist.verification.enrollment.owner_model import (
    OwnerModel,
    OwnerSiblings,
    import_owner_model,
    owner_model_of,
    read_owner_model,
)
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.kit.text import kit_text

FEW = {"groups": ("homologous", "sibling"), "labels": (PROBABILITIES,)}
"""Of requirements: two of the committee, four outside it."""
N_SIBLINGS = 6
INDEX = torch.arange(0, 900, 2)
"""The images that the owner trained on."""
CPU = torch.device("cpu")


def train(digits: Dataset, seed: int) -> OwnersNet:
    """On the owner's images."""
    with torch.random.fork_rng():
        net = owners_training.train(digits.pixels(INDEX), digits.labels[INDEX], seed, CPU)
    assert isinstance(net, OwnersNet)
    return net


@pytest.fixture(scope="module")
def victim(digits: Dataset) -> OwnersNet:
    """The owner's, from a seed of its own."""
    return train(digits, 1)


@pytest.fixture(scope="module")
def folder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six siblings as files, and what is none."""
    place = tmp_path_factory.mktemp("siblings")
    for seed in range(2, 2 + N_SIBLINGS):
        save_file(train(digits, seed).state_dict(), place / f"{seed}.safetensors")
    (place / "README.txt").write_text("siblings")
    return place


def owner(victim: OwnersNet, train: str | None = None, folder: Path | None = None) -> OwnerModel:
    """The victim with siblings by either way."""
    return owner_model_of(victim, "owners_net:make", INDEX, OwnerSiblings(train, folder))


def by(name: str, victim: OwnersNet) -> OwnerModel:
    """With siblings by one of the training functions of the tests."""
    return owner(victim, train=f"owners_training:{name}")


def imported(model: OwnerModel, digits: Dataset, store: Store, **requirements: Any) -> EnrollmentPlan:
    """The plan of an owner's model, what the owner brings put into the store."""
    plan = small_plan(digits, model.victim, **FEW | requirements)
    import_owner_model(model, context_on(store), plan, digits)
    return plan


def test_an_owners_function_trains_the_siblings(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    """On exactly the victim's images, each from its own seed, in the factory's module; the kit says so."""
    store, model = Store(str(tmp_path)), by("train", victim)
    plan = imported(model, digits, store)
    estimate = cost_of(plan.specs, plan.siblings, context_on(store))
    assert (estimate.siblings, estimate.untimed, estimate.stored) == (N_SIBLINGS, N_SIBLINGS, 1)
    assert estimate.models == len(plan.models) - 1
    assert "6 of them siblings" in estimate.summary(1)
    assert "train takes for siblings is not known" in estimate.summary(1)
    state = torch.random.get_rng_state()
    kit = run_here(plan, digits, store)
    assert torch.equal(torch.random.get_rng_state(), state)
    for spec in plan.siblings:
        assert isinstance(spec.origin, OwnerTrained)
        assert spec.gate == AbsoluteGate(0.1, 3)
        stored = store.get("model", spec.id)
        assert stored.info["train_digest"] == plan.victim.data.victim_set
        seed = seed_of(spec.id, stored.info["attempt"]) % 2**32
        expected = train(digits, seed).state_dict()
        assert all(torch.equal(expected[name], stored.tensors[f"module.{name}"]) for name in expected)
    (said,) = [limit for limit in kit.info.limits if "compared with" in limit]
    assert "2 siblings (from each of 4 more a model was stolen)" in said
    assert "owners_training:train" in said
    assert "a gate of 0.1 accuracy binds them and the victim alike" in said
    assert any("best of several runs" in limit for limit in kit.info.limits)
    assert said in kit_text(kit)
    assert cost_of(plan.specs, plan.siblings, context_on(store)).models == 0


def test_wire_names_of_a_function_are_pinned() -> None:
    """Siblings that were made keep their ids, whatever the fields are called."""
    found = canonical(OwnerTrained("mine:train", "0" * 64, (0.5,), (0.25,)))
    named = {"function": "mine:train", "source": "0" * 64, "mean": [0.5], "std": [0.25]}
    assert found == {"type": "OwnerTrained", **named}


def test_siblings_that_are_stolen_from_are_none_of_the_committee(digits: Dataset, victim: OwnersNet) -> None:
    """And every other model has the owner's data, architecture and gates."""
    plan = small_plan(digits, by("train", victim).victim, **FEW)
    assert plan.churn is not None
    outside = [m.member.spec.origin.victim for m in plan.reference_models if m.group == "sibling"]  # type: ignore[union-attr]
    assert len({spec.id for spec in (*plan.churn.siblings, *outside)}) == len(plan.siblings) == N_SIBLINGS
    assert {spec.data for spec in plan.models} == {plan.victim.data}
    assert {spec.architecture for spec in plan.siblings} == {"owners_net:make"}
    assert all(isinstance(m.member.spec.origin, Extracted) for m in plan.reference_models if m.group == "sibling")
    assert describe(outside[0]) == "owners_net:make trained on the victim's images by owners_training:train"
    assert seconds_for(replace(outside[0], architecture="A")) == LARGE_SECONDS, "an owner's function is not the net"


def test_another_function_gives_other_siblings(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    """Also the same one changed; the kit is another enrolment's. The seed changes them, too."""
    path = Path(owners_training.__file__)
    assert by("train", victim).victim.siblings == OwnerTrained("owners_training:train", _sha256(path))
    plan = small_plan(digits, by("train", victim).victim, **FEW)
    other = small_plan(digits, by("sometimes", victim).victim, **FEW)
    changed = OwnerTrained("owners_training:train", "0" * 64)
    third = small_plan(digits, replace(by("train", victim).victim, siblings=changed), **FEW)
    assert len({p.id for p in (plan, other, third)}) == 3
    assert not {s.id for s in plan.siblings} & {s.id for s in (*other.siblings, *third.siblings)}
    context = context_on(Store(str(tmp_path)))
    import_owner_model(by("train", victim), context, third, digits)
    with pytest.raises(UserError, match=r"train owners_training:train: .*file.*differs") as caught:
        perform_task(context, third.siblings[0])
    assert "\n" not in str(caught.value)


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
    """In one line, and before the other models are made; nothing of it is kept."""
    store = Store(str(tmp_path))
    plan = imported(by(name, victim), digits, store)
    with pytest.raises(UserError, match=word) as caught:
        run_here(plan, digits, store)
    assert str(caught.value).startswith(f"train owners_training:{name}: expected ")
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "train"
    assert {spec.id for spec in plan.models if store.has("model", spec.id)} == {plan.victim.id}


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
    with pytest.raises(UserError, match=r"siblings\.gate: .*0\.99.*of the victim; lower it"):
        import_owner_model(model, context_on(Store(str(tmp_path / "strict"))), plan, digits)
    fair = replace(small_config(), siblings=replace(small_config().siblings, gate=0.5))
    plan = plan_enrollment(fair, replace(SMALL, **FEW), 0, digits, model.victim)
    context = context_on(Store(str(tmp_path / "fair")))
    import_owner_model(model, context, plan, digits)
    with pytest.raises(GateError, match="3 attempts"):
        perform_task(context, plan.siblings[0])


def test_the_first_sibling_tells_what_the_others_take(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    plan = imported(by("train", victim), digits, store)
    context = context_on(store)
    before = cost_of(plan.specs, plan.siblings, context)
    perform_task(context, plan.siblings[0])
    card = store.get("model", plan.siblings[0].id)
    store.put("model", plan.siblings[0].id, card.tensors, card.info | {"seconds": 1000.0})
    after = cost_of(plan.specs, plan.siblings, context)
    assert (after.siblings, after.untimed) == (N_SIBLINGS - 1, 0)
    assert after.seconds - before.seconds == pytest.approx(5000, rel=0.05)
    assert "not known" not in after.summary(1)


def test_siblings_of_a_folder_are_taken_by_name(
    digits: Dataset, victim: OwnersNet, folder: Path, tmp_path: Path
) -> None:
    """The first make the committee, from the others models are stolen; a file is the same model wherever it stands."""
    store, model = Store(str(tmp_path / "s")), owner(victim, folder=folder)
    plan = imported(model, digits, store)
    assert plan.churn is not None
    for number, spec in enumerate(plan.churn.siblings, start=2):
        assert isinstance(spec.origin, Imported)
        assert spec.origin.weights == _sha256(folder / f"{number}.safetensors")
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


@pytest.mark.parametrize("given", ["neither", "no trained_on"])
def test_without_siblings_their_group_and_churn_are_left_out(
    given: str, digits: Dataset, victim: OwnersNet, tmp_path: Path
) -> None:
    """And the enrolment and the kit say so; what was asked for by name is an error."""
    siblings = OwnerSiblings() if given == "neither" else OwnerSiblings("owners_training:train")
    index = INDEX if given == "neither" else None
    model = owner_model_of(victim, "owners_net:make", index, siblings)
    plan = small_plan(digits, model.victim)
    assert (plan.churn, plan.siblings, plan.requirements.n_committee) == (None, [], 0)
    assert plan.requirements.groups == ("homologous", "same_data", "other_victim")
    for wrong, argument in (({"size": "light"}, "size"), ({"groups": ("homologous", "sibling")}, "groups")):
        with pytest.raises(UserError, match="give train or siblings, and trained_on") as caught:
            small_plan(digits, model.victim, **wrong)
        assert caught.value.argument == argument
    if given == "neither":
        progress = quiet()
        requirements = replace(SMALL, labels=(PROBABILITIES,))
        kit = enroll_locally(
            small_config(), requirements, store=tmp_path, dataset=digits, owner_model=model, progress=progress
        )
        assert "no siblings: weighted_churn and the group sibling are left out" in progress.out.getvalue()  # type: ignore[attr-defined]
        assert kit.churn is None
        assert any(limit.startswith("No siblings") for limit in kit.info.limits)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        ("train", "expected package.module:function"),
        ("nobody:train", "nobody"),
        ("owners_training:nothing", "nothing"),
        ("owners_training:NO_FUNCTION", "got 3"),
    ],
)
def test_functions_that_cannot_be_found_are_refused_first(function: str, word: str, victim: OwnersNet) -> None:
    with pytest.raises(UserError, match=f"^train {function}: .*{word}"):
        owner(victim, train=function)


def test_one_way_is_enough(victim: OwnersNet, folder: Path) -> None:
    with pytest.raises(UserError, match="got both"):
        owner(victim, "owners_training:train", folder)


def test_preprocessing_given_apart_is_the_siblings_too(digits: Dataset, victim: OwnersNet, tmp_path: Path) -> None:
    """The function's module takes what the victim's takes: images less the mean, over the standard deviation."""
    save_file(victim.state_dict(), tmp_path / "v.safetensors")
    mean, std = (0.5,), (0.25,)
    siblings = OwnerSiblings("owners_training:train")
    model = read_owner_model(tmp_path / "v.safetensors", "owners_net:make", 4, mean, std, INDEX, siblings)
    plan = small_plan(digits, model.victim, **FEW)
    context = context_on(Store(str(tmp_path / "s")))
    import_owner_model(model, context, plan, digits)
    perform_task(context, plan.siblings[0])
    net = context.net(plan.siblings[0])
    assert torch.equal(net.mean.flatten(), torch.tensor(mean))
    assert torch.equal(net.std.flatten(), torch.tensor(std))


def test_a_known_architecture_is_taken_with_its_own_preprocessing(
    digits: Dataset, victim: OwnersNet, tmp_path: Path
) -> None:
    """A net of Table 1 normalises images itself: what the function returns is what becomes the sibling."""
    known = owners_training.gives_known(digits.pixels(INDEX), digits.labels[INDEX], 7, CPU)
    weights = {name: tensor.contiguous() for name, tensor in known.state_dict().items()}
    save_file(weights, tmp_path / "a.safetensors")
    siblings = OwnerSiblings("owners_training:gives_known")
    model = read_owner_model(tmp_path / "a.safetensors", "A", 4, trained_on=INDEX, siblings=siblings)
    plan = small_plan(digits, model.victim, **FEW)
    context = context_on(Store(str(tmp_path / "s")))
    put_index(context.store, INDEX, digits)
    sibling = replace(plan.siblings[0], gate=None)
    perform_task(context, sibling)
    with torch.random.fork_rng():
        expected = owners_training.gives_known(
            digits.pixels(INDEX), digits.labels[INDEX], seed_of(sibling.id, 0) % 2**32, CPU
        )
    images = digits.pixels(torch.arange(50))
    assert torch.equal(context.net(sibling)(images), expected.eval()(images))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
