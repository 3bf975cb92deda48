"""The classification nets of torchvision on small images, from random weights.

The families of the paper (ResNet, VGG, DenseNet, GoogLeNet) are adapted to small images (protocol 2.18): the first
convolution is 3x3 with stride 1, no max-pool follows it, GoogLeNet has no auxiliary heads. Every other net keeps its
stem and gets images resampled to the 224x224 it was designed for.
"""

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import DenseNet, GoogLeNet, ResNet, SqueezeNet
from torchvision.models.vgg import cfgs, make_layers

from uapfp_dist.models.initialisation import initialise
from uapfp_dist.models.net import Net

PAPER_NETS = ("resnet18", "resnet34", "vgg16", "densenet121", "googlenet")
"""Section 5.1, for CIFAR-10 and TinyImageNet."""
INPUT_SIDE = 224
VGG_HIDDEN = 512
VGG_LAYERS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
"""torchvision's letters for the configurations of Simonyan and Zisserman."""
INCEPTIONS = ("googlenet", "inception_v3")


@cache
def names() -> frozenset[str]:
    """All classification nets of the installed torchvision."""
    return frozenset(torchvision.models.list_models(module=torchvision.models))


def has_small_variant(name: str) -> bool:
    """Whether `TorchvisionNet` of that name differs from torchvision's own, for small images."""
    families = ("resnet", "resnext", "wide_resnet", "densenet", "googlenet", "vgg")
    return name in names() and name.startswith(families)


class TorchvisionNet(Net):
    """A net of torchvision, cut before the layer that gives the logits.

    Args:
        name: one of `names()`.
        shape: (c, h, w) of an image; a grey one becomes three equal channels.
        n_classes: number of logits.
    """

    rate_scale: ClassVar[Mapping[str, float]] = {"sgd": 2.0, "adam": 0.1, "rmsprop": 0.1}

    def __init__(self, name: str, shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__(shape[0])
        self.grey = shape[0] == 1
        self.backbone = _vgg(name, n_classes) if name.startswith("vgg") else _published(name, n_classes)
        self.resample = not (name.startswith("vgg") or _fit_stem(self.backbone))
        self._last_path, self.last = _cut_last(self.backbone, n_classes)

    def published_key(self, key: str) -> str:
        """torchvision's name of a tensor of the state_dict."""
        whole = {"last": self._last_path, "backbone": ""}
        first, _, rest = key.partition(".")
        return f"{whole[first]}.{rest}".lstrip(".") if first in whole else key

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, F), the input of the last layer."""
        images = normalised.expand(-1, 3, -1, -1) if self.grey else normalised
        if self.resample:
            images = F.interpolate(images, size=(INPUT_SIDE, INPUT_SIDE), mode="bilinear")
        return self.backbone(images)

    def head(self, features: Tensor) -> Tensor:
        """(B, F) to (B, C) logits."""
        return self.last(features)


def _published(name: str, n_classes: int) -> nn.Module:
    """torchvision's net, with a linear layer at its end."""
    options = {"aux_logits": False, "init_weights": False} if name in INCEPTIONS else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=n_classes, **options)
    if name in INCEPTIONS:  # their published initialisation is far too small for training from scratch
        initialise(net)
    if isinstance(net, SqueezeNet):  # its last layer is a convolution before the mean: a linear one after it
        net.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(512, n_classes))
    return net


def _vgg(name: str, n_classes: int) -> nn.Module:
    """VGG with one small hidden layer: the published two of 4,096 units would hold nine tenths of the weights."""
    layers, _, normalised = name.partition("_")
    convolutions = make_layers(cfgs[VGG_LAYERS[layers]], batch_norm=bool(normalised))
    for module in convolutions.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True  # five halvings of 28 pixels
    hidden = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, VGG_HIDDEN), nn.ReLU(), nn.Dropout())
    initialise(body := nn.Sequential(convolutions, *hidden))
    return body.append(nn.Linear(VGG_HIDDEN, n_classes))


def _fit_stem(net: nn.Module) -> bool:
    """First convolution 3x3 at full resolution, no max-pool after it; False for a family that keeps its stem."""
    if isinstance(net, ResNet):
        net.conv1, net.maxpool = _first_convolution(net.conv1), nn.Identity()
    elif isinstance(net, DenseNet):
        net.features.conv0, net.features.pool0 = _first_convolution(net.features.conv0), nn.Identity()
    elif isinstance(net, GoogLeNet):
        net.conv1.conv, net.maxpool1 = _first_convolution(net.conv1.conv), nn.Identity()
    else:
        return False
    return True


def _first_convolution(published: nn.Conv2d) -> nn.Conv2d:
    convolution = nn.Conv2d(3, published.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _cut_last(net: nn.Module, n_classes: int) -> tuple[str, nn.Linear]:
    """Remove the last linear layer, by its path, from `net`, which then returns the input of that layer."""
    path, last = [(path, module) for path, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == n_classes
    net.set_submodule(path, nn.Identity())
    return path, last
