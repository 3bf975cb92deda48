"""A tiny evaluation, run once."""

import pytest
from finished_evaluation import Finished
from system import run_here, tiny_plan

from uapfp_dist.storage.store import Store


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Everything trained from nothing, one thread."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    plan = tiny_plan()
    return Finished(plan, folder, run_here(plan, Store(str(folder))))
