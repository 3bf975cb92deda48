"""A kit that decides three suspects, its register, and nobody asked yet."""

from pathlib import Path

import pytest
from toy_kit import churn_kit
from watched_suspects import asked, before

from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.register.register import Register


@pytest.fixture(autouse=True)
def _fresh(quick_retries: None) -> None:
    asked.clear()
    before.clear()


@pytest.fixture
def kit() -> Kit:
    """A light one that decides three suspects."""
    return churn_kit("light", 59)


@pytest.fixture
def register(kit: Kit, tmp_path: Path) -> Register:
    """Of that kit, nobody was asked yet."""
    return Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
