"""An owner's victim and a folder of its siblings, trained once."""

from pathlib import Path

import pytest
from owners_net import OwnersNet
from owners_siblings import N_SIBLINGS, train
from safetensors.torch import save_file

from uapfp_dist.data import Dataset


@pytest.fixture(scope="session")
def victim(digits: Dataset) -> OwnersNet:
    """The owner's, from a seed of its own."""
    return train(digits, 1)


@pytest.fixture(scope="session")
def folder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six siblings as files, and what is none."""
    place = tmp_path_factory.mktemp("siblings")
    for seed in range(2, 2 + N_SIBLINGS):
        save_file(train(digits, seed).state_dict(), place / f"{seed}.safetensors")
    (place / "README.txt").write_text("siblings")
    return place
