"""The trained victims that the parts of the benchmark share."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.config.presets import preset
from uapfp_dist.data import load, make_splits
from uapfp_dist.models import Net, build
from uapfp_dist.models.training import fit
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import DataSpec, Recipe

CPU = torch.device("cpu")
UAP_IMAGES = 300
"""Images that a UAP is fitted on."""


@dataclass(frozen=True)
class TrainedVictim:
    """A trained victim, its training images and images it has never seen."""

    name: str
    net: Net
    own: Tensor
    held_out: Tensor


def prepare(name: str, data_root: Path | None, width: int, samples_seen: int) -> TrainedVictim:
    """Train architecture A on D_v of data set `name`."""
    dataset = load(name, data_root)
    data = preset("digits").data
    splits = make_splits(dataset, DataSpec(name, dataset.digest, 0, data.train_share, data.outside_shares))
    own, held_out = dataset.pixels(splits.d_v), dataset.pixels(splits.probe)[:1000]
    net = build("A", dataset.shape, dataset.n_classes, width, 0, CPU)
    net.normalise_by(own)
    fit(net, own, dataset.labels[splits.d_v], Recipe("adam", 128, samples_seen), torch_rng("order"))
    return TrainedVictim(name, net, own, held_out)
