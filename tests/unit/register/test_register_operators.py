"""A set of points is spent for the operator who saw it, and who that is."""

from pathlib import Path

import pytest
from registers import KIT, begin, error_of, look

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.register import Register

# -- sets and operators ----------------------------------------------------------------------------------------------


def test_a_set_is_spent_for_its_operator_alone(register: Register, path: Path) -> None:
    for name in ("a", "b"):
        look(register, name, "Shop ")
    assert register.spent("shop") == {0, 1}
    assert register.spent("bank") == frozenset()
    assert (register.next_set("shop", 3), register.next_set("bank", 3)) == (2, 0)
    assert Register.open(path, KIT).spent("SHOP") == {0, 1}
    look(register, "c", "shop")
    said = error_of(lambda: register.next_set("shop", 3))
    assert said.startswith("operator shop: expected a set of points that this operator has not seen, all 3 are spent")


def test_gaps_are_filled_first_and_a_spent_set_is_refused(register: Register, path: Path) -> None:
    register.reserve(begin("a"), "shop", 1)
    assert register.next_set("shop", 3) == 0
    before = path.read_bytes()
    said = error_of(lambda: register.reserve(begin("b"), "shop", 1))
    assert "set 1 of the kit's points was given to another test" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("at", "operator"),
    [
        ("https://API.Shop.example:8443/v2/models/net?key=SECRET", "api.shop.example"),
        ("http://api.shop.example./invocations", "api.shop.example"),
        ("http://[::1]:8000", "::1"),
        ("/home/somebody/Thief.onnx", "thief.onnx"),
        ("~/thief.safetensors", "thief.safetensors"),
        ("their.module:predict", "their.module:predict"),
        ("/tmp/bell\x07\x1b[2J.onnx", "bell??[2j.onnx"),
    ],
)
def test_the_operator_of_an_address(at: str, operator: str) -> None:
    assert operator_of(SuspectConfig(at=at)) == operator
    assert operator_of(SuspectConfig(at=at, operator="  The   Shop ")) == "the shop"


@pytest.mark.parametrize("name", [" ", "a\x1b[2J", "x" * 201, "a\u202eb"])
def test_an_operator_has_a_name_that_shows(name: str) -> None:
    assert error_of(lambda: operator_of(SuspectConfig(at="http://a", operator=name))).startswith("operator: expected")


def test_an_address_that_is_no_url() -> None:
    assert error_of(lambda: operator_of(SuspectConfig(at="//[::1", kind="http"))).startswith("suspect: expected a URL")


# -- several at once -------------------------------------------------------------------------------------------------


def test_what_others_appended_is_seen_before_a_set_is_chosen(register: Register, path: Path) -> None:
    other = Register.open(path, KIT)
    look(register, "a", "shop")
    look(other, "b", "shop")
    assert [one.point_set for one in other.looks] == [0, 1]
