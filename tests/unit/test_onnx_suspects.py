"""Suspects as ONNX files (the extra): run as their reference, and stopped where they would not end."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_models import saved
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import TransientError


def onnx_file(path: Path) -> Path:
    """A linear model of flat images."""
    onnx = pytest.importorskip("onnx")
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    return saved(path, [node], {"x": ("FLOAT", ["n", 64])}, {"y": ("FLOAT", ["n", 10])}, {"w": weights})


def test_onnx_equals_its_reference(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    config = SuspectConfig(at=str(onnx_file(tmp_path / "m.onnx")), layout="flat", output="logits")
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    expected = (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights)).softmax(1)
    assert torch.allclose(query(config), expected, atol=1e-5)
    with pytest.raises(UserError, match="give layout flat"):
        query(SuspectConfig(at=config.at, output="logits"))


def bytes_file(path: Path) -> Path:
    """The same linear model of bytes, four images at a time."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32) / 255
    nodes = [
        helper.make_node("Cast", ["x"], ["z"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    return saved(path, nodes, {"x": ("UINT8", [4, 8, 8])}, {"y": ("FLOAT", [4, 10])}, {"w": weights})


def test_an_onnx_file_of_bytes_gets_bytes(tmp_path: Path) -> None:
    """At the default scale every pixel would be cut off to 0 or 1: that is refused."""
    pytest.importorskip("onnxruntime")
    config = SuspectConfig(at=str(bytes_file(tmp_path / "m.onnx")), output="logits")
    with pytest.raises(UserError, match=r"declared as uint8.*give scale 0-255"):
        query(config)
    with pytest.raises(UserError, match=r"declared as 4 x 8 x 8.*give layout NHW"):
        query(replace(config, scale="0-255"))
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    expected = (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights)).softmax(1)
    found = query(replace(config, scale="0-255", layout="NHW"))
    assert torch.allclose(found, expected, atol=1e-4)
    assert len(found) == 7, "two batches, the second filled up"


def test_an_endless_onnx_model_is_stopped(tmp_path: Path) -> None:
    """A loop of 2^62 turns is a valid file: it is stopped at the timeout of the request."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    scalar = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", kinds.INT64), ("c", kinds.BOOL))]
    rows = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", 64]) for name in ("a", "b")]
    turn = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Neg", ["a"], ["b"])]
    on = helper.make_tensor_value_info("on", kinds.BOOL, [])
    body = helper.make_graph(turn, "turn", [*scalar, rows[0]], [on, rows[1]])
    turns = helper.make_tensor("turns", kinds.INT64, [], [2**62])
    always = helper.make_tensor("always", kinds.BOOL, [], [True])
    node = helper.make_node("Loop", ["turns", "always", "x"], ["y"], body=body)
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", 64]) for name in ("x", "y")]
    graph = helper.make_graph([node], "endless", ends[:1], ends[1:], [turns, always])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    suspect = open_suspect(SuspectConfig(at=str(tmp_path / "m.onnx"), layout="flat"), SHAPE, 10)
    with pytest.raises(TransientError, match=r"no response within 0\.5 s"):
        suspect.query(IMAGES, 0.5)


def test_onnx_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = tmp_path / "m.onnx"
    with pytest.raises(UserError, match="expected a file"):
        open_suspect(SuspectConfig(at=str(path)), SHAPE, 10)
    path.write_bytes(b"model")
    with pytest.raises(UserError, match=r"uapfp_dist\[onnx\]"):
        open_suspect(SuspectConfig(at=str(path)), SHAPE, 10)
