"""Tensors of the Open Inference Protocol v2: JSON, or the binary tensor extension."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from uapfp_dist.suspects.request_template import HttpBody
from uapfp_dist.suspects.response_parsing import quoted

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
DATATYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name.lower()).newbyteorder("<") for name in INTEGERS},
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The protocol's types of numbers."""
BYTES = "BYTES"
"""The protocol's type of files and texts."""
HEADER_LENGTH = "Inference-Header-Content-Length"


def array_tensor(name: str, array: np.ndarray, datatype: str) -> tuple[dict[str, Any], bytes]:
    """(description without data, little-endian bytes) of an array as a tensor of that type."""
    values = array.astype(DATATYPES[datatype])
    return {"name": name, "shape": list(values.shape), "datatype": datatype}, values.tobytes()


def file_tensor(name: str, files: Sequence[bytes], shape: Sequence[int]) -> tuple[dict[str, Any], bytes]:
    """The same of files: the length of each in four bytes before it."""
    data = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    return {"name": name, "shape": list(shape), "datatype": BYTES}, data


def request_body(head: dict[str, Any], tensor: dict[str, Any], data: bytes, *, binary: bool) -> tuple[HttpBody, int]:
    """(body, length of its JSON) of a request with one input.

    Args:
        head: the rest of the request.
        tensor: description of the input.
        data: its bytes.
        binary: by the extension, in which the bytes follow the JSON; else numbers, or base64 of files, within it.
    """
    if not binary:
        text = json.dumps({**head, "inputs": [{**tensor, "data": _json_data(tensor["datatype"], data)}]}).encode()
        return HttpBody(text, "application/json"), len(text)
    described = {**tensor, "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({**head, "inputs": [described]}).encode()
    return HttpBody(text + data, "application/octet-stream"), len(text)


def _json_data(datatype: str, data: bytes) -> list[Any]:
    if datatype != BYTES:
        return np.frombuffer(data, DATATYPES[datatype]).tolist()
    return [base64.b64encode(file).decode() for file in _split(data)]


def _split(data: bytes) -> list[bytes]:
    """The elements of a tensor of bytes.

    Raises:
        ValueError: lengths that do not fit.
    """
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        if (end := at + 4 + length) > len(data):
            raise ValueError("a tensor of bytes that ends too early")
        found.append(data[at + 4 : end])
        at = end
    return found


def output_values(outputs: Any, name: str, binary: bytes) -> tuple[list[int], list[Any]]:
    """(shape, flat values) of an output.

    Args:
        outputs: the reply's.
        name: of the output; empty: the first.
        binary: what follows the reply's JSON.

    Raises:
        ValueError: there is none, or it does not make sense; one line.
    """
    if not isinstance(outputs, list) or not outputs or not all(isinstance(one, dict) for one in outputs):
        raise ValueError("a response without outputs")
    chosen = next((one for one in outputs if one.get("name") == name), None) if name else outputs[0]
    if chosen is None:
        raise ValueError(f"no output {quoted(name)}, only {', '.join(quoted(one.get('name')) for one in outputs[:6])}")
    shape, data = chosen.get("shape"), chosen.get("data")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an output without a shape")
    if data is None:
        data = _binary_values(outputs, chosen, binary)
    if not isinstance(data, list):
        raise ValueError("an output without data")
    return shape, data


def _binary_values(outputs: list[dict[str, Any]], chosen: dict[str, Any], binary: bytes) -> list[Any]:
    at = 0
    for one in outputs:
        parameters = one.get("parameters")
        size = parameters.get("binary_data_size", 0) if isinstance(parameters, dict) else 0
        if type(size) is not int or not 0 <= size <= len(binary) - at:
            raise ValueError("an output whose size does not fit")
        if one is chosen:
            part = binary[at : at + size]
            if one.get("datatype") == BYTES:
                return [item.decode(errors="replace") for item in _split(part)]
            if (kind := DATATYPES.get(str(one.get("datatype")))) is None or size % kind.itemsize:
                raise ValueError(f"an output of type {quoted(one.get('datatype'))}")
            values: list[Any] = np.frombuffer(part, kind).tolist()
            return values
        at += size
    return []
