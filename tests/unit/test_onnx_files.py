"""ONNX models whose weights stand in files beside them: those are read, and no other file ever is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_models import linear, weights
from torch import Tensor, nn
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.suspects import onnx_file
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.registry import open_suspect

pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")


def responses(seed: int = 0) -> Tensor:
    """Of the linear model."""
    return (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights(seed))).softmax(1)


def opened(path: Path) -> object:
    """The suspect in that file."""
    return open_suspect(SuspectConfig(at=str(path), output="logits"), SHAPE, 10)


@pytest.mark.parametrize("beside", ["m.onnx.data", "weights"])
def test_weights_beside_the_model_are_read(beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever it is called."""
    config = SuspectConfig(at=str(linear(tmp_path / "m.onnx", beside)), output="logits")
    assert (tmp_path / beside).stat().st_size == 64 * 10 * 4
    monkeypatch.chdir("/")
    torch.testing.assert_close(query(config), responses(), atol=1e-6, rtol=0)


def test_other_weights_beside_a_model_are_another_suspect(tmp_path: Path) -> None:
    """A transcript says which they were: those of two models never make one verdict."""
    config = SuspectConfig(at=str(linear(tmp_path / "m.onnx", "m.bin")), output="logits")
    before, digest = describe_suspect(config), (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.bin").unlink()
    linear(tmp_path / "m.onnx", "m.bin", seed=1)
    assert (tmp_path / "m.onnx").read_bytes() == digest
    assert describe_suspect(config)["external_data"] != before["external_data"]
    torch.testing.assert_close(query(config), responses(1), atol=1e-6, rtol=0)
    assert "external_data" not in describe_suspect(SuspectConfig(at=str(linear(tmp_path / "one.onnx"))))


def moved(path: Path, where: str) -> Path:
    """The same model, its weights said to be elsewhere."""
    model = onnx.load(path, load_external_data=False)
    (entry,) = [one for one in model.graph.initializer[0].external_data if one.key == "location"]
    entry.value = where
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "where", ["/etc/hostname", "../secret", "sub/m.bin", "./m.bin", "..", "", "C:\\m.bin", "m\0.bin", "~/m.bin"]
)
def test_weights_elsewhere_are_never_opened(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "sub").mkdir(parents=True)
    path = linear(folder / "m.onnx", "m.bin")
    for place in (tmp_path / "secret", folder / "sub" / "m.bin"):
        place.write_bytes((folder / "m.bin").read_bytes())
    with pytest.raises(UserError, match=r"external data at .* leads elsewhere") as caught:
        opened(moved(path, where))
    assert "\n" not in str(caught.value)


def test_a_link_beside_a_model_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = linear(tmp_path / "a" / "m.onnx", "m.bin")
    (tmp_path / "a" / "m.bin").rename(tmp_path / "secret")
    with pytest.raises(UserError, match=r"m\.bin' is not there"):
        opened(path)
    (tmp_path / "a" / "m.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"m\.bin' is a link"):
        opened(path)


def test_torn_and_oversized_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = linear(tmp_path / "m.onnx", "m.bin")
    whole = (tmp_path / "m.bin").read_bytes()
    monkeypatch.setattr(onnx_file, "MAX_EXTERNAL_BYTES", len(whole) - 1)
    with pytest.raises(UserError, match="2,560 bytes of at most 2,559"):
        opened(path)
    monkeypatch.undo()
    (tmp_path / "m.bin").write_bytes(whole[:-1])
    with pytest.raises(UserError, match="2,559 bytes of at least 2,560"):
        opened(path)


@pytest.mark.parametrize(("key", "value"), [("offset", "-4"), ("length", "many"), ("offset", "4"), ("length", "4")])
def test_places_that_are_none_are_refused(key: str, value: str, tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", "m.bin")
    model = onnx.load(path, load_external_data=False)
    (entry,) = [one for one in model.graph.initializer[0].external_data if one.key == key]
    entry.value = value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("location", ["/etc/hostname", "m.bin"])
@pytest.mark.parametrize("twice", [False, True])
def test_tensors_outside_anywhere_else_are_refused(location: str, twice: bool, tmp_path: Path) -> None:
    """Of a node, where the runtime would look for the file in the working folder; beside a weight of the same place."""
    path = linear(tmp_path / "m.onnx", "m.bin")
    model = onnx.load(path, load_external_data=False)
    tensor = onnx.TensorProto.FromString(model.graph.initializer[0].SerializeToString())
    next(one for one in tensor.external_data if one.key == "location").value = location
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w2" if twice else "w"], value=tensor))
    if not twice:
        del model.graph.initializer[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="external data"):
        opened(path)


@pytest.mark.parametrize("batch", ["fixed", "free"])
def test_torchs_own_export_is_asked_as_it_is(batch: str, tmp_path: Path) -> None:
    """With its weights beside it, as the exporter puts them."""
    pytest.importorskip("onnxscript")
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()
    free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if batch == "free" else {}
    torch.onnx.export(net, (torch.zeros(2, *SHAPE),), tmp_path / "m.onnx", verbose=False, **free)
    assert (tmp_path / "m.onnx.data").exists()
    found = query(SuspectConfig(at=str(tmp_path / "m.onnx"), output="logits"))
    with torch.no_grad():
        torch.testing.assert_close(found, net(IMAGES.float() / 255).softmax(1), atol=1e-6, rtol=0)
