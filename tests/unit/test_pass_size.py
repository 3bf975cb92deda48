"""Large images go through a net a few at a time: faster on a CPU, and the same answers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from uapfp_dist.attacks import attack_by
from uapfp_dist.fingerprints.ipguard_targets import targeted_points
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.pass_size import cache_room, in_passes, pass_size
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import fooling_rate, make_uap, predict
from uapfp_dist.rng import torch_rng

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("side", "on_cpu"), [(8, 500), (28, 160), (32, 128), (64, 32), (224, 8), (2000, 8)], ids=lambda side: str(side)
)
def test_a_pass_holds_as_many_images_as_fit_the_cache(side: int, on_cpu: int) -> None:
    """And never fewer than eight; GPUs take five hundred of any size."""
    images = torch.empty(1, 3, side, side)
    assert pass_size(images) == pass_size(images, CPU) == on_cpu
    assert pass_size(images, GPU) == 500
    assert cache_room(images, GPU) is None


def test_passes_are_all_images_in_order() -> None:
    """Of none there is one empty pass, as of `split`."""
    images = torch.arange(70.0).view(70, 1, 1, 1).expand(70, 1, 64, 64)
    assert [len(part) for part in in_passes(images)] == [32, 32, 6]
    assert torch.equal(torch.cat(in_passes(images)), images)


Work = Callable[[Net, Tensor], Tensor]


def _crafted(attack: str) -> Work:
    def craft(net: Net, images: Tensor) -> Tensor:
        labels = predict(net, images)
        return attack_by(attack, "victim").craft(net, images, images, labels, 40, torch_rng("craft"))

    return craft


def _uap(net: Net, images: Tensor) -> Tensor:
    found = make_uap(net, images, images, 2.0, "sgd", 2, torch_rng("uap"))
    return torch.cat([found.v.flatten(), torch.tensor([found.fooling_rate, fooling_rate(net, images, found.v, True)])])


WORK: dict[str, Work] = {
    "responses": predict_probabilities,
    "labels": predict,
    "cloudleak": _crafted("cloudleak"),
    "cloudleak_features": _crafted("cloudleak_features"),
    "jacobian": _crafted("jacobian"),
    "deepfool": lambda net, images: deepfool(net, images).delta,
    "ipguard": lambda net, images: targeted_points(net, images, 1.0, torch_rng("targets")).images,
    "uap": _uap,
}


@pytest.mark.parametrize("name", sorted(WORK))
def test_what_comes_of_it_does_not_depend_on_the_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty images in five passes and in one."""
    net = build("B", (3, 12, 12), 7, 4, 0, CPU).eval()
    images = torch.rand(40, 3, 12, 12, generator=torch_rng("images"))
    net.normalise_by(images)
    in_one = WORK[name](net, images)
    monkeypatch.setattr("uapfp_dist.pass_size.CPU_PIXELS", 8 * 12 * 12)
    assert pass_size(images) == 8
    torch.testing.assert_close(WORK[name](net, images), in_one, rtol=1e-4, atol=1e-5)
