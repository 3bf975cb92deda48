"""A store with one artifact."""

from pathlib import Path

import pytest
from one_artifact import INFO, TENSORS

from uapfp_dist.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one artifact."""
    made = Store(str(tmp_path / "store"))
    made.put("model", "k", TENSORS, INFO)
    return made
