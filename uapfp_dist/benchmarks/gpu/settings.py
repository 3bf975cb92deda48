"""What the parts share: the machine, the images, the time."""

import platform
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from uapfp_dist.concurrency import own_cpus
from uapfp_dist.data import Dataset, load
from uapfp_dist.models import Net, build
from uapfp_dist.rng import torch_rng

SMALL = ("A", "B", "C", "D", "E")
LARGE = ("resnet18", "resnet34", "vgg16", "densenet121", "googlenet")
"""The paper's."""
N_IMAGES = 20_000
"""Of made-up images, where there are none."""


@dataclass(frozen=True)
class Settings:
    """Chosen once for all parts."""

    device: str
    out: str
    """Folder of the results."""
    data_root: str | None = None
    """Folder with Fashion-MNIST; None: images are made up where any will do."""
    tiny: bool = False
    """A rehearsal: everything once, nothing at size."""

    @property
    def torch_device(self) -> torch.device:
        """Where it is measured."""
        return torch.device(self.device)

    @property
    def small_nets(self) -> tuple[str, ...]:
        """Of Table 1."""
        return SMALL[:1] if self.tiny else SMALL

    @property
    def large_nets(self) -> tuple[str, ...]:
        """Of torchvision."""
        return () if self.tiny else LARGE

    def size(self, whole: int, tiny: int) -> int:
        """A number of things, by whether this is a rehearsal."""
        return tiny if self.tiny else whole

    def images(self) -> Dataset:
        """Fashion-MNIST; without it noise of its shape, by which times are the same; digits in a rehearsal."""
        if self.tiny:
            return load("digits", None)
        if self.data_root is not None:
            return load("fashion_mnist", Path(self.data_root))
        pixels = torch.randint(256, (N_IMAGES, 1, 28, 28), generator=torch_rng("noise")).to(torch.uint8)
        return Dataset("noise", pixels, torch.arange(N_IMAGES) % 10, tuple("0123456789"), None)

    def net(self, name: str, dataset: Dataset, device: torch.device, normalised: Tensor | None = None) -> Net:
        """With the random weights that it has on every device, normalised by those images."""
        net = build(name, dataset.shape, dataset.n_classes, self.size(16, 4), 0, device)
        if normalised is not None:
            net.normalise_by(normalised.to(device))
        return net


@dataclass(frozen=True)
class Machine:
    """Where it ran."""

    card: str
    memory_gib: float
    cores: int
    python: str
    torch: str
    torchvision: str
    cuda: str


def machine(device: torch.device) -> Machine:
    """This one."""
    gpu = device.type == "cuda"
    return Machine(
        card=torch.cuda.get_device_name(device) if gpu else f"none, {device} in its place",
        memory_gib=torch.cuda.get_device_properties(device).total_memory / 2**30 if gpu else 0.0,
        cores=own_cpus(),
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        cuda=torch.version.cuda or "none",
    )
