"""One contract for all modifications: another net, by chance alone from its seed, that can be stored."""

import copy
from pathlib import Path

import pytest
import torch
from modified_nets import EXAMPLES, RECIPE, accuracy, modified, same, siblings, state, student
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.modifications import MODIFICATIONS, AttackerData, int8_structure, modify
from uapfp_dist.response_format import LABEL
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
    Distill,
    FineTune,
    Int8,
    ModificationSpec,
    Prune,
)


def test_every_spec_has_a_function() -> None:
    assert {type(modification) for modification in EXAMPLES} == set(MODIFICATIONS)
    assert set(MODIFICATIONS) == set(ModificationSpec.__args__)


@pytest.mark.parametrize("modification", EXAMPLES, ids=lambda modification: modification.description)
@pytest.mark.parametrize(
    "which", ["victim", "normed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("residual", "mlp"))]
)
def test_contract_of_every_modification(
    which: str,
    modification: ModificationSpec,
    data: AttackerData,
    held_out: Tensor,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Another net with responses of the same shape, by rng alone; the given nets stay; it can be stored."""
    net: Net = request.getfixturevalue(which)
    before, global_state = state(net), torch.get_rng_state()
    fresh_student = student()
    new = state(fresh_student)
    result = modify(net, modification, data, RECIPE, torch_rng(1), fresh_student, siblings=siblings())
    assert same(state(net), before)
    assert same(state(fresh_student), new)
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), global_state)
    assert not result.training

    responses = predict_probabilities(result, held_out)
    assert responses.shape == (len(held_out), 10)
    assert bool(responses.isfinite().all())
    assert not torch.equal(responses, predict_probabilities(net, held_out))
    assert result.features(held_out[:3]).shape[0] == 3

    torch.manual_seed(1)
    again = modified(net, modification, data, seed=1)
    assert same(state(result), state(again))
    assert torch.equal(predict_probabilities(again, held_out), responses)
    if not (isinstance(modification, Prune) and not modification.recovery_epochs):  # which is not random
        assert not same(state(modified(net, modification, data, seed=2)), state(result))

    store = Store(str(tmp_path))
    store.put("model", "x", result.state_dict(), {})
    kind = fresh_student if isinstance(modification, Distill) else net
    fresh = int8_structure(kind) if isinstance(modification, Int8) else copy.deepcopy(kind)
    fresh.load_state_dict(store.get("model", "x").tensors)
    assert torch.equal(predict_probabilities(fresh, held_out), responses)


@pytest.mark.parametrize(
    ("modification", "message"),
    [
        (Prune(0.0), "share between 0 and 1, got 0.0"),
        (Prune(1.0), "share between 0 and 1, got 1.0"),
        (Prune(float("nan")), "share between 0 and 1, got nan"),
        (Prune(0.4, -1.0), "at least 0 recovery epochs, got -1.0"),
        (FineTune(0.0), "more than 0 epochs, got 0.0"),
        (FineTune(layers="first"), "'first'; known: all, last, new_last"),  # type: ignore[arg-type]
        (Int8(0), "at least 1 image"),
        (AdversarialTraining(0), "got 0 iterations"),
        (AdversarialTraining(3, labels="mine"), "'mine'; known: own, true"),  # type: ignore[arg-type]
    ],
)
def test_bad_specs_are_refused_in_one_line(
    modification: ModificationSpec, message: str, victim: Net, data: AttackerData
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        modified(victim, modification, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("modification", EXAMPLES, ids=lambda modification: modification.description)
def test_a_ruined_net_is_returned(modification: ModificationSpec, victim: Net, data: AttackerData) -> None:
    """Its accuracy is measured like any other."""
    ruined = copy.deepcopy(victim)
    nn.init.constant_(ruined.last.weight, float("nan"))  # type: ignore[arg-type, union-attr]
    assert predict_probabilities(modified(ruined, modification, data), data.images).shape == (len(data.images), 10)


def test_modifications_compose(victim: Net, data: AttackerData, held_out: Tensor) -> None:
    """Prune, fine-tune, adversarial training, INT8, one after the other."""
    net = victim
    for modification in (Prune(0.3), FineTune(1.0), AdversarialTraining(2, batch_size=16), Int8()):
        net = modified(net, modification, data)
    assert accuracy(net, held_out, predict_probabilities(victim, held_out).argmax(1)) > 0.8


@pytest.mark.parametrize(
    ("modification", "name"),
    [
        (FineTune(), "fine-tune"),
        (FineTune(layers="last"), "fine-tune last layer"),
        (FineTune(layers="new_last"), "fine-tune new last layer"),
        (Prune(0.4), "prune .4"),
        (Prune(0.25, 5.0), "prune .25 + recovery"),
        (Int8(), "INT8"),
        (AdversarialTraining(120), "adversarial training 120 (own labels)"),
        (AdversarialTraining(30, 90, "true"), "adversarial training 120 (true labels)"),
        (Distill(), "distillation"),
        (Distill(LABEL), "distillation (hard labels)"),
    ],
)
def test_names_for_tables(modification: ModificationSpec, name: str) -> None:
    assert modification.description == name
