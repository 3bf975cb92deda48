"""Which images of the data set the owner's model was trained on: nobody else may be trained or tested on those."""

from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.data import Dataset
from uapfp_dist.data.image_list import read_list
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import ModelSpec

FEWEST_IMAGES = 20
"""Of D_v, and of the images in D that the victim was not trained on: an attacker has only those."""


def read_index(path: Path, dataset: Dataset) -> Tensor:
    """(N,) sorted indices of the images that the owner's model was trained on, from a text file with an image a line.

    Images are named by index (they count from 0 in the order of the data set, official training images first), by file
    or by their lines of a numbered list.

    Raises:
        UserError: no such file; no image of the data set; repeated; too few.
    """
    try:
        index = torch.tensor(read_list(path, dataset), dtype=torch.int64)
    except UserError as error:
        raise UserError(f"trained_on: {error}", argument="trained_on") from error
    if len(index) < FEWEST_IMAGES:
        raise UserError(
            f"trained_on: expected at least {FEWEST_IMAGES} different images, got {len(index)} in {path}; name all "
            "that the model was trained on",
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
    dataset, splits = context.data(spec.data)
    others = len(splits.d) - len(splits.d_v)
    held_out = {name: len(getattr(splits, name.lower())) for name in ("PROBE", "ATTACK", "EVAL")}
    if min(others, *held_out.values()) >= FEWEST_IMAGES:
        return
    left = ", ".join(f"{n} for {name}" for name, n in held_out.items())
    remedies = _remedies(others, list(held_out.values()), has_test_set=dataset.n_train is not None)
    raise UserError(
        f"trained_on: expected at least {FEWEST_IMAGES} images for each use by others that the victim was not trained "
        f"on, it leaves {others} to train and steal the other models with, {left}; {'; '.join(remedies)}",
        argument="trained_on",
    )


def _remedies(others: int, held_out: list[int], *, has_test_set: bool) -> list[str]:
    """Where images must come from; test images of an official split never train a model."""
    found = []
    if others < FEWEST_IMAGES:
        found.append(
            "for the other models add training images (of a folder: to train/) that it was not trained on"
            if has_test_set
            else "for the other models raise data.train_share, or add images that it was not trained on"
        )
    if min(held_out) < FEWEST_IMAGES:
        ways = ["change data.outside_shares"] if sum(held_out) >= len(held_out) * FEWEST_IMAGES else []
        ways += [] if has_test_set else ["lower data.train_share"]
        ways.append(
            f"add {'test images (of a folder: to test/)' if has_test_set else 'images'} that it was not trained on"
        )
        found.append(f"for PROBE, ATTACK and EVAL {', or '.join(ways)}")
    return found
