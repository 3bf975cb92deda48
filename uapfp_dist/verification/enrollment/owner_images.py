"""Which images of the data set the owner's model was trained on: nobody else may be trained or tested on those."""

from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import ModelSpec

FEWEST_IMAGES = 20
"""Of D_v, and of the images in D that the victim was not trained on: an attacker has only those."""


def read_index(path: Path, dataset: Dataset) -> Tensor:
    """(N,) sorted indices of the images that the owner's model was trained on, from a text file with a number a line.

    Images count from 0 in the order of the data set, official training images first.

    Raises:
        UserError: no such file, not numbers, repeated, outside the data set; nothing is left for anybody else.
    """
    try:
        index = torch.tensor(sorted(int(line) for line in path.read_text().split()), dtype=torch.int64)
    except (OSError, ValueError) as error:
        raise UserError(
            f"trained_on: expected a text file with an index a line at {path} ({error})", argument="trained_on"
        ) from error
    n = len(dataset.labels)
    if len(index) < FEWEST_IMAGES or int(index[0]) < 0 or int(index[-1]) >= n or len(index.unique()) < len(index):
        raise UserError(
            f"trained_on: expected at least {FEWEST_IMAGES} different indices from 0 to {n - 1}, got {len(index)} in "
            f"{path}; list each image once",
            argument="trained_on",
        )
    return index


def put_index(store: Store, index: Tensor, dataset: Dataset) -> None:
    """Put it into the store, so that every worker splits the data alike."""
    store.put("index", index_digest(index), {"index": index}, {"data": dataset.digest})


def check_splits(context: TaskContext, spec: ModelSpec) -> None:
    """Refuse data that leave nothing to anybody but the victim.

    Raises:
        UserError: too few images of D outside D_v, or of PROBE, ATTACK or EVAL.
    """
    _, splits = context.data(spec.data)
    rest = len(splits.d) - len(splits.d_v)
    held_out = {name: len(getattr(splits, name)) for name in ("probe", "attack", "eval")}
    if rest < FEWEST_IMAGES or min(held_out.values()) < FEWEST_IMAGES:
        raise UserError(
            f"trained_on: expected at least {FEWEST_IMAGES} images of each other use, the victim's leave {rest} to "
            f"train others on and {held_out}; add images that it was not trained on",
            argument="trained_on",
        )
