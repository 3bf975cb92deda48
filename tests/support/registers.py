"""Looks of a made-up kit in its register, and what is said where it is not well."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.register.register import Register

KIT, SHA = "a" * 64, "5" * 64


def begin(name: str = "thief", at: str = "https://shop.example/models", **changes: Any) -> Begin:
    suspect = {"name": name, "at": at, "kind": "mlflow", "output": "label", "classes": None}
    return replace(Begin(kit=KIT, suspect=suspect, judged=Judged((name,), 0.05)), **changes)


def look(register: Register, name: str, operator: str, n_sets: int = 3, p: float | None = None) -> str:
    """A test as a verification makes it; its id."""
    with register.locked():
        index = register.next_set(operator, n_sets)
        test = register.reserve(begin(name), operator, index).test
    if p is not None:
        register.decide(test, p, "hard", SHA, "inconclusive")
    return test


def error_of(action: Callable[[], object]) -> str:
    """The one line of a user's error."""
    with pytest.raises(UserError) as caught:
        action()
    assert str(caught.value).isprintable()
    return str(caught.value)
