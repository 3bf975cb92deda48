"""An owner's victim with siblings by a training function or from a folder, and the plan of its enrolment."""

import hashlib
from pathlib import Path
from typing import Any

import owners_training
import torch
from owners_net import OwnersNet
from small_enrollment import small_plan
from system import context_on

from uapfp_dist.data import Dataset
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.enrollment.owner_model import (
    OwnerModel,
    OwnerSiblings,
    import_owner_model,
    owner_model_of,
)
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

FEW = {"groups": ("homologous", "sibling"), "labels": (PROBABILITIES,)}
"""Of requirements: two of the committee, four outside it."""
N_SIBLINGS = 6
INDEX = torch.arange(0, 900, 2)
"""The images that the owner trained on."""
CPU = torch.device("cpu")


def train(digits: Dataset, seed: int) -> OwnersNet:
    """On the owner's images."""
    with torch.random.fork_rng():
        net = owners_training.train(digits.pixels(INDEX), digits.labels[INDEX], seed, CPU)
    assert isinstance(net, OwnersNet)
    return net


def owner(victim: OwnersNet, train: str | None = None, folder: Path | None = None) -> OwnerModel:
    """The victim with siblings by either way."""
    return owner_model_of(victim, "owners_net:make", INDEX, OwnerSiblings(train, folder))


def by(name: str, victim: OwnersNet) -> OwnerModel:
    """With siblings by one of the training functions of the tests."""
    return owner(victim, train=f"owners_training:{name}")


def imported(model: OwnerModel, digits: Dataset, store: Store, **requirements: Any) -> EnrollmentPlan:
    """The plan of an owner's model, what the owner brings put into the store."""
    plan = small_plan(digits, model.victim, **FEW | requirements)
    import_owner_model(model, context_on(store), plan, digits)
    return plan


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
