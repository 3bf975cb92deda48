"""Part `rivals`: our DeepFool and UAP on the GPU against those of ART and torchattacks there."""

import copy
from functools import partial

import torch

from uapfp_dist.benchmarks import peers
from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.benchmarks.race import images_and_radius
from uapfp_dist.models.training import fit
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

MEASUREMENTS = ("DeepFool", "UAP")


def planned(settings: Settings) -> list[str]:
    """Names of all measurements."""
    return list(MEASUREMENTS)


def measure(settings: Settings, notes: Notes) -> None:
    """On one net, trained here."""
    if absent := peers.missing():
        notes.skip(f"{', '.join(absent)} not installed; pip install 'uapfp_dist[peers]'")
        return
    device, dataset = settings.torch_device, settings.images()
    n = settings.size(4000, 200)
    own, held_out = dataset.pixels(torch.arange(n), device), dataset.pixels(torch.arange(n, n + n // 4), device)
    with seeded(1, device):
        net = settings.net("A", dataset, device, own)
        labels = dataset.labels[:n].to(device)
        fit(net, own, labels, Recipe("adam", 64, 64 * settings.size(400, 10)), torch_rng("order"))
    # ART changes a net: each has its own
    few = held_out[: settings.size(peers.DEEPFOOL_IMAGES, 4)]
    notes.take("DeepFool", partial(peers.deepfool_race, dataset.name, copy.deepcopy(net), few, lambda line: None))
    notes.take("UAP", partial(_uap, copy.deepcopy(net), own, held_out))


def _uap(net: torch.nn.Module, own: torch.Tensor, held_out: torch.Tensor) -> object:
    images, xi = images_and_radius(net, own, held_out)
    return peers.one_race(net, images, held_out, xi, 0)
