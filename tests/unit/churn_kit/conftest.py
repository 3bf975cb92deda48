"""Either kit of churn points, and the full one on disk."""

from pathlib import Path

import pytest
from churn_kits import KITS

from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.kit.kit import Kit


@pytest.fixture(params=["full", "light"])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Nineteen models in each of four groups."""
    return KITS[request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The full kit on disk."""
    save_kit(KITS["full"], tmp_path / "kit")
    return tmp_path / "kit"
