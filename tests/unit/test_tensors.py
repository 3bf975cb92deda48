"""The Open Inference Protocol: types, binary tensors, files, outputs by name, single images, the largest batch."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from protocol_servers import BadRequestError, Reply, Request, pixels_of, serving_protocol
from toy_kit import responses_of, serve, toy_kit, trained
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import InputMismatchError
from uapfp_dist.suspects.tensors import output_values
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.verify import verify

LOCAL = responses_of(trained(0), IMAGES)
KINDS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1"}


def strict(
    declared: dict[str, Any] | None, *, largest: int = 0, single: bool = False, by_name: bool = False
) -> tuple[Any, list[Any]]:
    """(protocol of a server that takes exactly what it declares, what it was sent)."""
    seen: list[Any] = []

    def respond(request: Request, model: Any) -> tuple[int, Any]:
        if not request.body:
            if request.path.endswith("/config"):
                return 0, {"max_batch_size": largest}
            return 0, {"name": "m", "inputs": [declared] if declared else []}
        length = int(request.headers.get("Inference-Header-Content-Length", len(request.body)))
        head, rest = json.loads(request.body[:length]), request.body[length:]
        (tensor,) = head["inputs"]
        seen.append({**head, "binary": bool(rest)})
        if declared and (tensor["name"], tensor["datatype"]) != (declared["name"], declared["datatype"]):
            raise BadRequestError("another input")
        rows = rows_of(tensor, rest)
        if largest and len(rows) > largest:
            raise BadRequestError("too many")
        found = np.array(model(rows), dtype=np.float64)
        if by_name and [one["name"] for one in head.get("outputs", [])] != ["probabilities"]:
            raise BadRequestError("ask for probabilities")
        shape = [10] if single else list(found.shape)
        output = {"name": "probabilities", "datatype": "FP64", "shape": shape, "data": found.ravel().tolist()}
        other = {"name": "features", "datatype": "FP32", "shape": [len(rows)], "data": [0.0] * len(rows)}
        return len(rows), {"id": head["id"], "outputs": [output] if not by_name else [other, output]}

    def rows_of(tensor: dict[str, Any], rest: bytes) -> np.ndarray:
        if tensor["datatype"] == "BYTES":
            files = [base64.b64decode(text) for text in tensor["data"]] if not rest else []
            while rest:
                length = int.from_bytes(rest[:4], "little")
                files.append(rest[4 : 4 + length])
                rest = rest[4 + length :]
            assert len(files) == tensor["shape"][0]
            return np.array([pixels_of(file) for file in files])
        kind = np.dtype(KINDS[tensor["datatype"]])
        if rest:
            assert tensor["parameters"]["binary_data_size"] == len(rest)
        values = np.frombuffer(rest, kind) if rest else np.array(tensor["data"], kind)
        rows = values.reshape(([1] if single else []) + tensor["shape"]).astype(np.float32)
        return rows / np.float32(255) if tensor["datatype"] == "UINT8" else rows

    return respond, seen


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("datatype", "fields"),
    [("FP32", {}), ("FP64", {}), ("FP16", {}), ("UINT8", {"scale": "0-255"}), ("BYTES", {"datatype": "BYTES"})],
)
def test_types(datatype: str, fields: dict[str, Any], binary: bool) -> None:
    """As numbers and as bytes; half precision rounds the pixels."""
    shape = [-1] if datatype == "BYTES" else [-1, 1, 8, 8]
    protocol, seen = strict({"name": "x", "datatype": datatype, "shape": shape})
    with serving_protocol(protocol, serve(trained(0))) as server:
        found = query(SuspectConfig(at=f"{server.url}/v2/models/m", binary=binary, **fields))
    assert (found - LOCAL).abs().max() < (1e-2 if datatype == "FP16" else 1e-6)
    assert [(one["binary"], one["id"]) for one in seen] == [(binary, "1")]


def test_a_type_is_given_where_the_server_declares_none() -> None:
    protocol, seen = strict(None)
    with serving_protocol(protocol, serve(trained(0))) as server:
        query(SuspectConfig(at=f"{server.url}/v2/models/m", datatype="FP64", tensor="pixels"))
        with pytest.raises(UserError, match="unknown datatype 'FP31'"):
            query(SuspectConfig(at=server.url, kind="oip", datatype="FP31"))
    assert [(one["name"], one["datatype"]) for one in seen[0]["inputs"]] == [("pixels", "FP64")]


def test_files_are_sent_only_where_that_is_said() -> None:
    protocol, _ = strict({"name": "x", "datatype": "BYTES", "shape": [-1]})
    with (
        serving_protocol(protocol, serve(trained(0))) as server,
        pytest.raises(InputMismatchError, match="give datatype BYTES to send PNG files"),
    ):
        query(SuspectConfig(at=f"{server.url}/v2/models/m"))
    with pytest.raises(InputMismatchError, match="as PNG files"):
        open_suspect(SuspectConfig(at="http://h/v2/models/m", datatype="BYTES", scale="signed"), SHAPE, 10)


def test_an_output_that_must_be_asked_for_by_name() -> None:
    protocol, _ = strict(None, by_name=True)
    with serving_protocol(protocol, serve(trained(0))) as server:
        config = SuspectConfig(at=f"{server.url}/v2/models/m", output_tensor="probabilities")
        assert (query(config) - LOCAL).abs().max() < 1e-6
        with pytest.raises(UserError, match="ask for probabilities"):
            query(SuspectConfig(at=f"{server.url}/v2/models/m"))
        with pytest.raises(ValueError, match="no output 'p', only 'features'"):
            output_values([{"name": "features"}], "p", b"")
    assert describe_suspect(config)["output_tensor"] == "probabilities"


@pytest.mark.parametrize(("shape", "largest", "single"), [([1, 8, 8], 0, True), ([-1, 1, 8, 8], 6, False)])
def test_single_images_and_the_largest_batch(shape: list[int], largest: int, single: bool, tmp_path: Path) -> None:
    """As the server's metadata say; nothing is sent in vain."""
    protocol, seen = strict({"name": "x", "datatype": "FP32", "shape": shape}, largest=largest, single=single)
    with serving_protocol(protocol, serve(trained(0))) as server:
        config = SuspectConfig(at=f"{server.url}/v2/models/m", name="s")
        (case,) = verify(toy_kit(), [config], tmp_path, QueryConfig())
    assert case.verdict.claim == "piracy"
    assert case.ledger.queries == server.images
    sizes = {1 if single else one["inputs"][0]["shape"][0] for one in seen}
    assert max(sizes) == (1 if single else 6)


def test_an_address_that_ends_in_a_slash_stays_so() -> None:
    protocol, _ = strict(None)
    for path, sent in (("infer/", "infer/"), ("infer", "infer"), ("", "infer")):
        with serving_protocol(protocol, serve(trained(0))) as server:
            query(SuspectConfig(at=f"{server.url}/v2/models/m/{path}"))
        assert server.requests[-1].path == f"/v2/models/m/{sent}"


def test_binary_outputs() -> None:
    """Several, one after the other; what does not fit is one line."""
    values = np.arange(6, dtype="<f2")
    two = [
        {"name": "a", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": 3}},
        {"name": "b", "datatype": "FP16", "shape": [2, 3], "parameters": {"binary_data_size": 12}},
    ]
    rest = b"\1\2\3" + values.tobytes()
    assert output_values(two, "b", rest) == ([2, 3], values.tolist())
    assert output_values(two, "", rest) == ([3], [1, 2, 3])
    text = {"name": "t", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 7}}
    assert output_values([text], "t", b"\3\0\0\0cat") == ([1], ["cat"])
    for outputs, data in (
        (two, rest[:-1]),
        ([{**two[1], "datatype": "X"}], rest),
        ([{**two[1], "shape": None}], rest),
        ([{**two[1], "parameters": {"binary_data_size": -1}}], rest),
        ([text], b"\4\0\0\0cat"),
        ("none", b""),
        ([{**two[1], "data": 3}], b""),
    ):
        with pytest.raises(ValueError, match=r"output|tensor") as caught:
            output_values(outputs, "b" if outputs is two else "", data)
        assert "\n" not in str(caught.value)


def test_a_binary_reply() -> None:
    """By the length of its JSON, which the header gives; a header that makes no sense is passed over."""

    def respond(request: Request, number: int) -> Reply:
        if not request.body:
            return Reply(404)
        local = LOCAL.numpy().astype("<f4").tobytes()
        output = {"name": "y", "datatype": "FP32", "shape": [7, 10], "parameters": {"binary_data_size": len(local)}}
        head = json.dumps({"outputs": [output]}).encode()
        return Reply(200, head + local, {"Inference-Header-Content-Length": str(len(head))})

    with serving_protocol(strict(None)[0], serve(trained(0)), respond) as server:
        found = query(SuspectConfig(at=f"{server.url}/v2/models/m", binary=True))
    assert (found - LOCAL).abs().max() < 1e-6
