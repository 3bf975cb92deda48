"""Options of a suspect: those of another protocol are refused before anything is loaded or sent."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.own_fields import HTTP, OWN, check_own_fields
from uapfp_dist.suspects.registry import SUSPECTS, open_suspect

SHAPE = (1, 8, 8)
GIVEN: dict[str, Any] = {
    "request": Path("r.json"),
    "answer": "a",
    "architecture": "A",
    "width": 8,
    "ignore_surplus": True,
    "tensor": "x",
    "output_tensor": "y",
    "datatype": "FP32",
    "binary": True,
    "headers": {"Authorization": "word"},
    "ca": Path("ca.pem"),
    "client_certificate": Path("c.pem"),
    "client_key": Path("k.pem"),
    "proxy": "http://me:word@h:1",
    "polling": "location",
    "any_certificate": True,
}
"""Another value of every field that not all protocols read."""
OF_ALL = {"at", "name", "operator", "kind", "output", "classes", "layout", "scale", "channels", "mean", "std", "size"}
AT = {"onnx": "m.onnx", "weights": "m.safetensors", "python": "toy_suspects:copied", "oip": "https://h/v2/models/m"}


def test_every_field_is_of_all_protocols_or_of_some() -> None:
    """A new field has its place in the table."""
    assert {item.name for item in fields(SuspectConfig)} == {*OF_ALL, "resampling", *GIVEN}
    assert {name for names in (*OWN.values(), HTTP) for name in names} == set(GIVEN)
    assert set(OWN) <= set(SUSPECTS)


@pytest.mark.parametrize("kind", SUSPECTS)
@pytest.mark.parametrize("name", GIVEN)
def test_fields_of_another_protocol_are_refused(kind: str, name: str) -> None:
    """In one line that tells none of their values; nothing is there that could be opened."""
    config = SuspectConfig(at=AT.get(kind, "https://h/x"), kind=kind, **{name: GIVEN[name]})
    if name in OWN.get(kind, HTTP):
        check_own_fields(config)
        return
    with pytest.raises(
        UserError, match=f"^{name}: expected none for a suspect of kind {kind}, got one; leave"
    ) as caught:
        open_suspect(config, SHAPE, 10)
    assert "\n" not in str(caught.value)
    assert "word" not in str(caught.value)
    assert caught.value.argument == name


@pytest.mark.parametrize(
    ("at", "name", "kind"),
    [
        ("http://h", "tensor", "mlflow"),
        ("http://h/v1/models/m", "binary", "tensorflow-serving"),
        ("http://h/v2/models/m", "answer", "oip"),
        ("m.onnx", "architecture", "onnx"),
        ("m.safetensors", "headers", "weights"),
        ("toy_suspects:copied", "polling", "python"),
    ],
)
def test_kinds_by_their_address_refuse_them_too(at: str, name: str, kind: str) -> None:
    check_own_fields(SuspectConfig(at=at))
    with pytest.raises(UserError, match=f"^{name}: expected none for a suspect of kind {kind}"):
        open_suspect(SuspectConfig(at=at, **{name: GIVEN[name]}), SHAPE, 10)


@pytest.mark.parametrize("name", ["ca", "client_certificate", "client_key", "any_certificate"])
def test_certificates_are_for_https(name: str) -> None:
    given = {name: GIVEN[name]}
    check_own_fields(SuspectConfig(at="https://h", **given))
    with pytest.raises(UserError, match=f"^{name}: expected none for a suspect at http://") as caught:
        open_suspect(SuspectConfig(at="http://h", **given), SHAPE, 10)
    assert caught.value.argument == name


def test_resampling_is_for_another_size() -> None:
    check_own_fields(SuspectConfig(at="http://h", resampling="nearest", size=(4,)))
    with pytest.raises(UserError, match=r"^resampling: expected size beside it"):
        open_suspect(SuspectConfig(at="http://h", resampling="nearest"), SHAPE, 10)
