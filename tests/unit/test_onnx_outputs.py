"""What ONNX models take and give: one image or a batch, one output or several, rows, maps or maps of features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import Declared, linear, saved, weights
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.suspects import onnx as onnx_suspect
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.onnx_output import rows_of
from uapfp_dist.suspects.registry import open_suspect

pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")
node = onnx.helper.make_node

RESPONSES = (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights())).softmax(1)
"""Of the linear model."""
X: Declared = {"x": ("FLOAT", ["n", 1, 8, 8])}
LINEAR = [node("Flatten", ["x"], ["flat"]), node("MatMul", ["flat", "w"], ["y"])]


def check(path: Path, atol: float = 1e-6, **options: Any) -> None:
    """It says what the linear model says."""
    found = query(SuspectConfig(at=str(path), **{"output": "logits", **options}))
    torch.testing.assert_close(found, RESPONSES, atol=atol, rtol=0)


def test_a_model_of_single_images_gets_them_one_by_one(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["flat"]), node("MatMul", ["flat", "w"], ["y"])]
    tensors = {"w": weights(), "shape": np.array([64])}
    check(saved(tmp_path / "m.onnx", nodes, {"x": ("FLOAT", [1, 8, 8])}, {"y": ("FLOAT", [10])}, tensors))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_batches_that_a_model_fixes(size: int, tmp_path: Path) -> None:
    ends: tuple[Declared, Declared] = {"x": ("FLOAT", [size, 1, 8, 8])}, {"y": ("FLOAT", [size, 10])}
    check(saved(tmp_path / "m.onnx", LINEAR, *ends, {"w": weights()}))


@pytest.mark.parametrize("shape", [(7, 10, 1, 1), (7, 1, 10)])
def test_outputs_of_more_dimensions_are_rows(shape: Sequence[int], tmp_path: Path) -> None:
    """A net that ends with a convolution or a mean over places gives (n, C, 1, 1)."""
    nodes = [*LINEAR, node("Reshape", ["y", "shape"], ["z"])]
    tensors = {"w": weights(), "shape": np.array([-1, *shape[1:]])}
    check(saved(tmp_path / "m.onnx", nodes, X, {"z": ("FLOAT", ["n", *shape[1:]])}, tensors))


def test_a_map_of_places_is_no_response(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a row of classes for each image, the ONNX model gives \(7, 1, 8, 8\)"):
        check(saved(tmp_path / "m.onnx", [node("Neg", ["x"], ["y"])], X, {"y": ("FLOAT", ["n", 1, 8, 8])}))


@pytest.mark.parametrize(
    ("found", "n", "rows"),
    [
        (np.zeros((2, 3, 1, 1)), 2, [[0, 0, 0]] * 2),
        (np.array([1, 2]), 2, [1, 2]),
        (np.array([[1], [2]]), 2, [1, 2]),
        (np.zeros(3), 1, [[0, 0, 0]]),
        (np.array(["a", "b"], object), 2, ["a", "b"]),
        ([{1: np.float32(0.5)}], 1, [{"1": 0.5}]),
    ],
)
def test_rows_of_a_run(found: Any, n: int, rows: list[Any]) -> None:
    assert rows_of(found, n) == rows


@pytest.mark.parametrize(
    ("found", "n"), [(np.zeros((3, 10)), 2), (np.zeros((2, 3, 4)), 2), ([np.zeros(3)], 1), ([{}], 2), (np.zeros(()), 2)]
)
def test_what_is_no_row_for_each_image_is_refused(found: Any, n: int) -> None:
    with pytest.raises(UserError):
        rows_of(found, n)


def two_outputs(path: Path, first: str, n_others: int) -> Path:
    """Logits, and others of `n_others` beside them."""
    nodes = [*LINEAR, node("MatMul", ["flat", "v"], ["features"])]
    ends = {"y": ("FLOAT", ["n", 10]), "features": ("FLOAT", ["n", n_others])}
    ordered = {first: ends[first], **ends}
    return saved(path, nodes, X, ordered, {"w": weights(), "v": np.ones((64, n_others), np.float32)})


def test_the_output_that_can_be_the_classes_is_read(tmp_path: Path) -> None:
    """Features of another width stand before the logits."""
    check(two_outputs(tmp_path / "m.onnx", "features", 5))


def test_an_output_by_name(tmp_path: Path) -> None:
    """Two outputs that may both be classes: nothing is guessed."""
    path = two_outputs(tmp_path / "m.onnx", "features", 10)
    with pytest.raises(UserError, match="it has 'features', 'y'; name one") as caught:
        check(path)
    assert caught.value.argument == "output_tensor"
    with pytest.raises(UserError, match="expected an output named 'z', it has 'features', 'y'"):
        check(path, output_tensor="z")
    check(path, output_tensor="y")
    records = [describe_suspect(SuspectConfig(at=str(path), output_tensor=name)) for name in ("y", "features")]
    assert records[0] != records[1]


@pytest.mark.parametrize("kind", ["INT32", "INT64", "UINT8", "INT16"])
def test_inputs_of_integers(kind: str, tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["z"], to=onnx.TensorProto.FLOAT), node("Flatten", ["z"], ["flat"]), LINEAR[1]]
    ends: tuple[Declared, Declared] = {"x": (kind, ["n", 1, 8, 8])}, {"y": ("FLOAT", ["n", 10])}
    path = saved(tmp_path / "m.onnx", nodes, *ends, {"w": weights() / 255})
    check(path, atol=1e-5, scale="0-255")
    with pytest.raises(UserError, match="give scale 0-255"):
        check(path)


def test_inputs_and_outputs_of_half_precision(tmp_path: Path) -> None:
    ends: tuple[Declared, Declared] = {"x": ("FLOAT16", ["n", 1, 8, 8])}, {"y": ("FLOAT16", ["n", 10])}
    check(saved(tmp_path / "m.onnx", LINEAR, *ends, {"w": weights().astype(np.float16)}), atol=5e-2)


def test_labels_and_maps_of_probabilities(tmp_path: Path) -> None:
    """As converted classifiers of scikit-learn give them: label first, then an object of each image."""
    nodes = [
        *LINEAR,
        node("Softmax", ["y"], ["p"], axis=1),
        node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
        node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=list(range(10))),
    ]
    path = saved(tmp_path / "m.onnx", nodes, X, {"label": ("INT64", ["n"])}, {"w": weights()})
    model = onnx.load(path)
    kind = onnx.helper.make_map_type_proto(
        onnx.TensorProto.INT64, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    model.graph.output.append(onnx.helper.make_value_info("maps", onnx.helper.make_sequence_type_proto(kind)))
    onnx.save(model, path)
    check(path, output="probabilities")
    assert query(SuspectConfig(at=str(path), output="label")).argmax(1).tolist() == RESPONSES.argmax(1).tolist()
    assert int((query(SuspectConfig(at=str(path), output="top3")) > 0).sum(1).max()) == 3


def test_a_classifier_of_scikit_learn(tmp_path: Path) -> None:
    """Converted by skl2onnx as it comes, of images in a row."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits, labels = load_digits(return_X_y=True)
    rows = (digits[:500] / 16).astype(np.float32)
    fitted = LogisticRegression(max_iter=200).fit(rows, labels[:500])
    kind = skl2onnx.common.data_types.FloatTensorType([None, 64])
    (tmp_path / "m.onnx").write_bytes(skl2onnx.convert_sklearn(fitted, initial_types=[("x", kind)]).SerializeToString())
    expected = torch.from_numpy(fitted.predict_proba(InputFormat("flat").encode(IMAGES))).float()
    given = {
        output: query(SuspectConfig(at=str(tmp_path / "m.onnx"), layout="flat", output=output))
        for output in ("probabilities", "label")
    }
    torch.testing.assert_close(given["probabilities"], expected, atol=1e-5, rtol=0)
    assert torch.equal(given["label"].argmax(1), expected.argmax(1))


def test_images_of_another_size(tmp_path: Path) -> None:
    """The model halves what it gets, each pixel doubled: the same responses."""
    nodes = [node("AveragePool", ["x"], ["h"], kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", ["h"], ["flat"])]
    ends: tuple[Declared, Declared] = {"x": ("FLOAT", ["n", 1, 16, 16])}, {"y": ("FLOAT", ["n", 10])}
    path = saved(tmp_path / "m.onnx", [*nodes, LINEAR[1]], *ends, {"w": weights()})
    with pytest.raises(UserError, match="give size 16 16"):
        check(path)
    check(path, size=16, resampling="nearest")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a hundred bytes may ask for twelve gigabytes."""
    nodes = [
        node("ConstantOfShape", ["shape"], ["large"]),
        node("ReduceSum", ["large"], ["zero"], keepdims=1),
        *LINEAR,
        node("Add", ["y", "zero"], ["z"]),
    ]
    tensors = {"w": weights(), "shape": np.array([3_000_000_000])}
    path = saved(tmp_path / "m.onnx", nodes, X, {"z": ("FLOAT", ["n", 10])}, tensors)
    with pytest.raises(UserError, match="more memory than the 8 GiB") as caught:
        check(path)
    assert "\n" not in str(caught.value)
    ends: tuple[Declared, Declared] = {"x": ("FLOAT", [10**9, 1, 8, 8])}, {"y": ("FLOAT", [10**9, 10])}
    with pytest.raises(UserError, match="1,000,000,000 images at once"):
        check(saved(tmp_path / "wide.onnx", LINEAR, *ends, {"w": weights()}))
    runs = []
    monkeypatch.setattr(onnx_suspect, "rows_of", lambda found, n: runs.append(n) or found.tolist())
    suspect = open_suspect(SuspectConfig(at=str(linear(tmp_path / "l.onnx")), output="logits"), SHAPE, 10)
    assert len(suspect.query(IMAGES.repeat(30, 1, 1, 1), 60.0)) == 210
    assert runs == [64, 64, 64, 18], "a request of any size is no run of that size"
