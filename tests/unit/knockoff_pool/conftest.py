"""A folder of noise, and the plan of a zoo stolen with it."""

from pathlib import Path

import pytest
from foreign_images import N_POOL, config, noise
from PIL import Image

from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset, load
from uapfp_dist.evaluation.plan import Plan, make_plan


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of coloured noise, larger than digits and not square."""
    root = tmp_path_factory.mktemp("others")
    for i, image in enumerate(noise(N_POOL, 20, 15, 3)):
        path = root / ("one", "two", "three")[i % 3] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.numpy()).save(path)
    return root


@pytest.fixture(scope="session")
def others(folder: Path) -> Dataset:
    """That folder as a data set."""
    return load("imagefolder", folder)


@pytest.fixture(scope="session")
def plan(others: Dataset) -> Plan:
    """Of it."""
    check(config())
    return make_plan(config(), 0, load("digits", None), others)
