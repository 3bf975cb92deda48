"""The check that every module is touched can fail."""

import touched
from touched import modules, noting

SOURCE = '''
"""A module."""


def nothing() -> None:
    """A docstring is no code."""


def protocol() -> None: ...


def something(x: int) -> int:
    """Some."""
    return 1 // x
'''


def test_a_module_is_touched_when_a_function_runs_and_not_before() -> None:
    noted: list[str] = []
    space = {touched.NOTE: noted.append}
    exec(compile(noting(SOURCE, "a.module"), "a", "exec"), space)
    space["nothing"]()  # type: ignore[operator]
    space["protocol"]()  # type: ignore[operator]
    assert noted == []
    space["something"](1)  # type: ignore[operator]
    assert noted == ["a.module"]
    assert "a.module" not in touched.touched


def test_a_module_without_functions_is_touched_by_its_import() -> None:
    noting("LIMIT = 3", "a.constant")
    assert "a.constant" in touched.touched
    touched.touched.discard("a.constant")


def test_lines_stay_where_they_are() -> None:
    tree = noting(SOURCE, "a.module")
    assert tree.body[3].body[-1].lineno == 14  # type: ignore[attr-defined]


def test_every_module_is_counted() -> None:
    assert {"uapfp_dist", "uapfp_dist.rng", "uapfp_dist.fingerprints.encoder"} <= set(modules())
