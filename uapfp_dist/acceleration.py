"""What is done differently on a GPU, where the host must not wait for the device; nothing of it on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """Each can be switched off, for the benchmark that measures what it is worth."""

    tensor_rate: bool = True
    """The learning rate is a tensor on the device; a graph needs it."""
    device_order: bool = True
    """The order of the images and their augmentation are drawn for many steps ahead, and sent once for all of them."""
    byte_images: bool = True
    """Images to train on lie on the device as uint8, and each batch becomes float32 there."""
    device_probe: bool = True
    """The images that a model is queried with are built on its device."""
    cuda_graph: bool = True
    """The training step of a small net is recorded once, and replayed."""
    graph_large: bool = False
    """That of any other net, too."""


NONE = Acceleration(
    tensor_rate=False, device_order=False, byte_images=False, device_probe=False, cuda_graph=False, graph_large=False
)
_chosen: ContextVar[Acceleration | None] = ContextVar("acceleration", default=None)


def acceleration(device: torch.device) -> Acceleration:
    """What holds on `device`: everything on a GPU, nothing on a CPU, unless `accelerated` says otherwise."""
    return _chosen.get() or (Acceleration() if device.type == "cuda" else NONE)


@contextmanager
def accelerated(chosen: Acceleration) -> Iterator[None]:
    """Within it `chosen` holds on every device, for models that are built inside."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)
