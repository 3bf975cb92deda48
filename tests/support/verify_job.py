"""jobs/verify.py in this process, for tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

VERIFY = Path(__file__).parents[2] / "jobs" / "verify.py"


def verify_job(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run it with these arguments."""
    spec = importlib.util.spec_from_file_location("verify_job_module", VERIFY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "verify_job_module", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["verify.py", *arguments])
    module.job()
