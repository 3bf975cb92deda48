"""An evaluation in which everything is turned on, run once."""

import pytest
from everything import Shown, everything
from system import Keeper, run_here

from uapfp_dist.config.validation import check
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.storage.store import Store


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Everything, once."""
    root = tmp_path_factory.mktemp("everything")
    config = everything()
    check(config)
    plan, store = make_plan(config, 0, load("digits", None)), Store(str(root / "storage"))
    report = run_here(plan, store, tracker=Keeper(root / "out"))
    return Shown(plan, report, root / "out", store)
