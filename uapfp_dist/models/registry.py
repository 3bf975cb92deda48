"""Architectures by name. To add one: a subclass of `Net`, a line in `Architectures._listed`."""

from collections.abc import Callable, Iterator, Mapping

import torch

from uapfp_dist.errors import unknown_name
from uapfp_dist.models.architecture_names import is_published
from uapfp_dist.models.cnn import TABLE_1, Cnn
from uapfp_dist.models.mlp import Mlp
from uapfp_dist.models.net import Net
from uapfp_dist.models.published import PublishedNet
from uapfp_dist.models.residual import Residual
from uapfp_dist.models.torchvision_nets import PAPER_NETS, TorchvisionNet, names
from uapfp_dist.rng import seeded

Builder = Callable[[tuple[int, int, int], int, int], Net]
"""(image shape, number of classes, width) to a net with random weights. Nets of torchvision ignore the width."""


def _table_1(name: str) -> Builder:
    return lambda shape, n_classes, width: Cnn(TABLE_1[name], shape, n_classes, width)


def _torchvision(name: str) -> Builder:
    return lambda shape, n_classes, width: TorchvisionNet(name, shape, n_classes)


class Architectures(Mapping[str, Builder]):
    """Those of the paper, two of other families, and every other classification net of torchvision.

    It iterates over all but the last.
    """

    others = "or any torchvision classification net"
    """Ends the list of known names in an error."""
    _listed: Mapping[str, Builder] = {
        **{name: _table_1(name) for name in TABLE_1},
        **{name: _torchvision(name) for name in PAPER_NETS},
        "residual": Residual,
        "mlp": Mlp,
    }

    def __getitem__(self, name: str) -> Builder:
        if name in self._listed:
            return self._listed[name]
        if name in names():
            return _torchvision(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


ARCHITECTURES = Architectures()


def build(name: str, shape: tuple[int, int, int], n_classes: int, width: int, seed: int, device: torch.device) -> Net:
    """A new net with the random weights of `seed` (the same on every device).

    Args:
        name: of ARCHITECTURES, or `torchvision:NAME` or `timm:NAME`, see `PublishedNet`.
        shape: (c, h, w) of an image.
        n_classes: number of logits.
        width: of the small nets; those of libraries have their published one.
        seed: of the weights.
        device: where it stands.

    Raises:
        UserError: unknown architecture.
    """
    if is_published(name):
        with seeded(seed, torch.device("cpu")):
            published = PublishedNet(name, shape, n_classes)
        return published.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    if name not in ARCHITECTURES:
        raise unknown_name("architecture", name, ARCHITECTURES)
    with seeded(seed, torch.device("cpu")):
        net = ARCHITECTURES[name](shape, n_classes, width)
    return net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
