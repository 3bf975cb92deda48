"""A register that is empty or full, and a clock that ticks."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from registers import KIT, look

from uapfp_dist.verification.register import register as register_module
from uapfp_dist.verification.register.register import Register


@pytest.fixture(autouse=True)
def _seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is a second after the one before."""
    seconds = count()
    start = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(register_module, "_now", lambda: (start + timedelta(seconds=next(seconds))).isoformat())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kit.register.jsonl"


@pytest.fixture
def register(path: Path) -> Register:
    return Register.open(path, KIT, create=True)


@pytest.fixture
def full(register: Register, path: Path) -> list[bytes]:
    """Lines of a register: opened, and two tests with their results."""
    for name in ("a", "b"):
        look(register, name, name, p=0.2)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    return lines
