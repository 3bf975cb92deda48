"""IPGuard against a public implementation: the comparison itself, with a function of our own in place of theirs."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from system import tiny_plan
from torch import nn

from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Store

SCRIPT = Path(__file__).parents[2] / "jobs" / "public_ipguard.py"
THEIRS = """
import numpy as np
CALLS = []

def CBA(model, x, y="L", k=5):
    CALLS.append(k)
    value, gradient = model(x)
    return x - np.sign(gradient(np.ones_like(value)))
"""


class FakeTensorFlow:
    """NumPy in its place: a function with a gradient of its own gives both."""

    constant = convert_to_tensor = staticmethod(np.asarray)

    @staticmethod
    def custom_gradient(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return function


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public_ipguard", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def theirs(tmp_path: Path) -> ModuleType:
    path = tmp_path / "theirs.py"
    path.write_text(THEIRS)
    spec = importlib.util.spec_from_file_location("theirs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.tf = FakeTensorFlow
    return module


def net_of(*weights: float) -> nn.Module:
    """Two logits: the sum of two pixels times a weight, and 0."""
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data = torch.tensor([[*weights], [0.0, 0.0]])
    return nn.Sequential(nn.Flatten(), linear).eval()


def test_gradients_are_those_of_the_net(script: ModuleType) -> None:
    x = np.array([[[[0.2, 0.7]]]], dtype=np.float32)
    value, gradient = script.tensorflow_logits(net_of(3.0, -1.0), FakeTensorFlow)(x)
    assert value == pytest.approx(np.array([[-0.1, 0.0]]), abs=1e-6)
    assert gradient(np.array([[1.0, 5.0]], dtype=np.float32)).flatten() == pytest.approx([3.0, -1.0])


def test_points_that_are_stored_are_not_made_again(script: ModuleType, theirs: Any, tmp_path: Path) -> None:
    images, store = torch.rand(3, 1, 1, 2, generator=torch.Generator().manual_seed(0)), Store(str(tmp_path / "store"))
    first = script.their_points(theirs, net_of(3.0, -1.0), images, 5.0, store, "victim")
    assert torch.equal(first, images - torch.tensor([1.0, -1.0]))
    again = script.their_points(theirs, net_of(3.0, -1.0), images, 5.0, store, "victim")
    assert torch.equal(first, again)
    assert theirs.CALLS == [5.0] * 3
    script.their_points(theirs, net_of(3.0, -1.0), images, 5.0, store, "another")
    script.their_points(theirs, net_of(3.0, -1.0), images, 0.0, store, "victim")
    assert theirs.CALLS == [5.0] * 6 + [0.0] * 3


def test_matching_rates(script: ModuleType) -> None:
    """A copy agrees with the victim on all points, an opposite on none."""
    victim, copy, opposite = net_of(1.0, -1.0), net_of(2.0, -2.0), net_of(-1.0, 1.0)
    before = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).reshape(2, 1, 1, 2)
    after = torch.tensor([[0.9, 0.1], [0.9, 0.2]]).reshape(2, 1, 1, 2)
    nets = {"piracy": [copy, copy], "homologous": [opposite]}
    row = script.judge(after, torch.cat([before, after]), victim, nets, "theirs", 5.0)
    assert row.moved == 1
    assert row.farthest == pytest.approx(0.8)
    assert row.matching_rate == {"piracy": 1.0, "homologous": 0.0}
    assert row.area == {"homologous": 1.0}
    found = script.Comparison("digits", 0, {"piracy": 2, "homologous": 1}, 2, (row,))
    assert "k 5, theirs: 2 points, 1 images have another label" in script.text(found)


def test_models_that_are_not_there_are_counted(script: ModuleType, tmp_path: Path) -> None:
    """A few are named, many are refused."""
    store, members = Store(str(tmp_path)), tiny_plan().judged
    plain = [member for member in members if member.role != "victim"]
    for member in plain[1:]:
        store.put("model", member.spec.id, {}, {})
    there, missing = script._judged(members, store, "tiny")
    assert there == plain[1:]
    assert missing == {"piracy": 1}
    found = script.Comparison("digits", 0, {"piracy": 2}, 2, (), missing)
    assert script.text(found).endswith("without 1 piracy, which are not in the storage")
    store.discard("model", plain[1].spec.id)
    with pytest.raises(UserError, match=rf"^tiny: expected a finished evaluation .* 2 of {len(plain)} models"):
        script._judged(members, store, "tiny")


def test_what_is_missing_is_one_line(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected baselines/fingerprinting-blackbox/generation\.py in"):
        script.load_theirs(tmp_path)
    path = tmp_path / script.FILE
    path.parent.mkdir(parents=True)
    path.write_text("import a_tensorflow_that_is_not_there\n")
    with pytest.raises(UserError, match="expected TensorFlow"):
        script.load_theirs(tmp_path)
    path.write_text("from types import SimpleNamespace as N\nkeras = N(optimizers=N(legacy=N(Adam=0)), layers=0)\n")
    with pytest.raises(UserError, match="expected CBA in"):
        script.load_theirs(tmp_path)
