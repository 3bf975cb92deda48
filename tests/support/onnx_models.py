"""Small ONNX models made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Declared = Mapping[str, tuple[str, Sequence[int | str]]]
"""Name to its type, as TensorProto calls it, and its dimensions."""


def weights(seed: int = 0) -> np.ndarray:
    """(64, 10) of a linear model of digits."""
    return np.random.default_rng(seed).normal(size=(64, 10)).astype(np.float32)


def saved(
    path: Path,
    nodes: Sequence[Any],
    inputs: Declared,
    outputs: Declared,
    tensors: Mapping[str, np.ndarray] | None = None,
    beside: str = "",
) -> Path:
    """A model in a file, or with its weights in one of the name `beside`."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    values = [
        [helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape) for name, (kind, shape) in end]
        for end in (inputs.items(), outputs.items())
    ]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in (tensors or {}).items()]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "g", *values, initializers)
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    options: dict[str, Any] = {"save_as_external_data": True, "location": beside, "size_threshold": 0} if beside else {}
    onnx.save(model, path, **options)
    return path


def linear(path: Path, beside: str = "", seed: int = 0) -> Path:
    """A linear model of (n, 1, 8, 8) images in [0, 1]."""
    onnx = pytest.importorskip("onnx")
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    ends: tuple[Declared, Declared] = {"x": ("FLOAT", ["n", 1, 8, 8])}, {"y": ("FLOAT", ["n", 10])}
    return saved(path, nodes, *ends, {"w": weights(seed)}, beside)
