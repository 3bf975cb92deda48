"""Does `pytest` touch every module of the package? A plugin: `PYTHONPATH=tests/support pytest -p touched` tells.

A module is touched if one of its functions has run in the process of the tests, or, where it has none, if it was
imported. The first statement of every function notes its module: far cheaper than tracing.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uapfp_dist"
NOTE = "__touched__"

touched: set[str] = set()
"""Modules that were, by their dotted names."""


def noting(source: str, name: str) -> ast.Module:
    """The source of a module, in which every function that does something notes `name`; line numbers stay."""
    tree, n_functions = ast.parse(source), 0
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            at = 1 if ast.get_docstring(function, clean=False) is not None else 0
            if any(not _is_constant(statement) for statement in function.body):
                n_functions += 1
                note = ast.parse(f"{NOTE}({name!r})").body[0]
                for node in ast.walk(note):
                    ast.copy_location(node, function.body[at])
                function.body.insert(at, note)
    if not n_functions:
        touched.add(name)
    return tree


def _is_constant(statement: ast.stmt) -> bool:
    """A docstring, or the `...` of a protocol."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(noting(self.get_data(path).decode(), fullname), path, "exec")
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[NOTE] = touched.add
        super().exec_module(module)


class _Finder:
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.split(".")[0] != PACKAGE.name:
            return None
        # An editable install may have a finder of its own for the package itself, and no entry in sys.path.
        spec = PathFinder.find_spec(name, path or [str(PACKAGE.parent)], target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


def modules() -> list[str]:
    """All of the package, by their dotted names; empty files are none."""
    paths = [path for path in PACKAGE.rglob("*.py") if path.read_text().strip()]
    parts = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in paths]
    return sorted(".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """From now on imported modules note that they run."""
    assert PACKAGE.name not in sys.modules, "imported before"
    sys.meta_path.insert(0, _Finder())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Modules left out are a failure."""
    left_out = sorted(set(modules()) - touched)
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(f"\ntouched: {len(modules()) - len(left_out)} of {len(modules())} modules {left_out or ''}")
    if left_out and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
