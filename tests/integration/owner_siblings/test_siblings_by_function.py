"""An owner's function trains the siblings: on the victim's images, each from its own seed."""

from dataclasses import replace
from pathlib import Path

import owners_training
import pytest
import torch
from owners_net import OwnersNet
from owners_siblings import CPU, FEW, INDEX, N_SIBLINGS, by, imported, sha256_of, train
from safetensors.torch import save_file
from small_enrollment import run_here, small_plan
from system import context_on

from uapfp_dist.cluster.spec_resources import LARGE_SECONDS, seconds_for
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.rng import seed_of
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.hashing import canonical
from uapfp_dist.tasks.specs import AbsoluteGate, Extracted, OwnerTrained
from uapfp_dist.verification.enrollment.owner_images import put_index
from uapfp_dist.verification.enrollment.owner_model import (
    OwnerSiblings,
    import_owner_model,
    read_owner_model,
)
from uapfp_dist.verification.kit.text import kit_text


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
    assert by("train", victim).victim.siblings == OwnerTrained("owners_training:train", sha256_of(path))
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
