"""Servers that declare their input: obeyed, or an error before anything is sent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_server import serving
from input_forms import metadata_of
from toy_kit import checked_kit, serve, trained

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import InputMismatchError, TooLargeError
from uapfp_dist.verification.verify import verify

IMAGES = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)


pytestmark = pytest.mark.usefixtures("quick_retries")


def over_oip(inputs: Any, **fields: Any) -> tuple[list[Any], list[Any]]:
    """(responses, what the server was sent)."""
    seen: list[Any] = []
    with serving(
        lambda images: images, metadata_of(inputs, lambda x: x.reshape(len(x), -1)[:, :2], seen), metadata=True
    ) as endpoint:
        suspect = open_suspect(SuspectConfig(at=f"{endpoint.url}/v2/models/m", **fields), (1, 8, 8), 2)
        return suspect.query(IMAGES, 5.0), seen


def test_the_type_and_name_that_a_server_declares_are_obeyed() -> None:
    declared = [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    responses, seen = over_oip(declared, scale="0-255")
    assert [(one["name"], one["datatype"]) for one in seen] == [("pixels", "UINT8")]
    assert np.array(responses).tolist() == IMAGES.flatten(1)[:, :2].tolist()
    declared[0]["datatype"] = "FP64"
    _, seen = over_oip(declared)
    assert [one["datatype"] for one in seen] == ["FP64"]


@pytest.mark.parametrize(
    ("inputs", "fields", "message"),
    [
        ([{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}], {}, "give scale 0-255"),
        ([{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8, 1]}], {}, "give layout NHWC"),
        ([{"name": "x", "datatype": "BYTES", "shape": [-1]}], {}, "it declares 'BYTES'"),
        ([{"name": "x", "datatype": "FP32"}, {"name": "y", "datatype": "FP32"}], {}, "name its input in tensor"),
        ([{"name": "x", "datatype": "FP32"}], {"tensor": "z"}, "expected one input z"),
    ],
)
def test_another_declared_input_is_refused_before_anything_is_sent(
    inputs: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputMismatchError) as caught:
        over_oip(inputs, **fields)
    assert message in str(caught.value)


def test_nothing_counts_as_sent_where_the_declared_input_differs(tmp_path: Path) -> None:
    inputs = [{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    with serving(lambda images: images, metadata_of(inputs, lambda x: x, []), metadata=True) as endpoint:
        config = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        with pytest.raises(UserError, match="give scale 0-255"):
            verify(checked_kit(), [config], tmp_path)
    assert '"counts": false' in (tmp_path / "s.transcript.jsonl").read_text()


def test_a_server_without_metadata_is_sent_floats() -> None:
    for inputs in ([], "no list", None, [3]):
        _, seen = over_oip(inputs)
        assert [(one["name"], one["datatype"]) for one in seen] == [("input", "FP32")]


def test_a_server_of_single_images_is_sent_single_images(tmp_path: Path) -> None:
    """As exporters write it: a batch of 1, which a server refuses to exceed."""
    inputs, seen = [{"name": "x", "datatype": "FP32", "shape": [1, 1, 8, 8]}], []
    with serving(lambda images: images, metadata_of(inputs, serve(trained(0)), seen), metadata=True) as endpoint:
        config = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        (case,) = verify(checked_kit(), [config], tmp_path)
    assert case.verdict.claim == "piracy"
    assert {one["shape"][0] for one in seen} == {1}
    assert len(seen) == case.ledger.queries


@pytest.mark.parametrize("size", [1, 4, 5])
def test_declared_batches_are_filled_up(size: int) -> None:
    """An ONNX file, and a server that declares them; what is answered to the filling is dropped."""
    from uapfp_dist.suspects.onnx import _in_batches

    parts = _in_batches(np.arange(7), size)
    assert {len(part) for part in parts} == {size}
    assert np.concatenate(parts)[:7].tolist() == list(range(7))
    assert [len(part) for part in _in_batches(np.arange(7), "n")] == [7]
    declared = [{"name": "x", "datatype": "FP32", "shape": [size, 1, 8, 8]}]
    seen: list[Any] = []
    respond = metadata_of(declared, lambda x: x.reshape(len(x), -1)[:, :2], seen)
    with serving(lambda images: images, respond, metadata=True) as endpoint:
        suspect = open_suspect(SuspectConfig(at=f"{endpoint.url}/v2/models/m"), (1, 8, 8), 2)
        images = IMAGES[:3] if size > 1 else IMAGES[:1]
        responses = suspect.query(images, 5.0)
        if size < len(IMAGES):
            with pytest.raises(TooLargeError):
                suspect.query(IMAGES, 5.0)
    assert [one["shape"][0] for one in seen] == [size]
    assert np.array(responses).tolist() == (images.flatten(1)[:, :2].float() / 255).tolist()
