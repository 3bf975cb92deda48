"""An attacker's images, and trained nets with BatchNorm, with shortcuts and without convolutions."""

import pytest
from modified_nets import CPU, Normed, trained
from torch import Tensor

from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.models import Net
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import AttackerData
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe


@pytest.fixture(scope="session")
def data(digits: Dataset, digits_splits: Splits) -> AttackerData:
    """Of D outside D_v: 150 labelled images (ATTACK itself has fewer than a batch), the others without labels."""
    outside = outside_of(digits_splits.d, digits_splits.d_v)
    return AttackerData(digits.pixels(outside[:150]), digits.labels[outside[:150]], digits.pixels(outside[150:]))


@pytest.fixture(scope="session")
def normed(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """A trained `Normed`."""
    with seeded(0, CPU):
        net = Normed()
        net.normalise_by(own)
        fit(net, own, digits.labels[digits_splits.d_v], Recipe("adam", 64, 10 * len(own)), torch_rng("order"))
    return net


@pytest.fixture(scope="session")
def residual(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """The control with shortcuts."""
    return trained("residual", digits, digits_splits, own)


@pytest.fixture(scope="session")
def mlp(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """The control without convolutions."""
    return trained("mlp", digits, digits_splits, own)
