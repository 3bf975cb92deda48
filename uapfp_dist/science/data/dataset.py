"""A labelled set of images, whole, in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """All images of a data set as 8-bit pixels, the official training images (if any) first."""

    name: str
    images: Tensor
    """(N, c, h, w) uint8."""
    labels: Tensor
    """(N,) int64 in [0, n_classes)."""
    class_names: tuple[str, ...]
    n_train: int | None
    """How many come from the official training set; None where there is no official test set."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, pixels, labels and the place of the official split."""
        sha = hashlib.sha256(f"{tuple(self.images.shape)} {self.n_train} {self.class_names}".encode())
        sha.update(self.images.numpy().tobytes())
        sha.update(self.labels.numpy().tobytes())
        return sha.hexdigest()[:16]

    def pixels(self, index: Tensor, device: torch.device | None = None) -> Tensor:
        """Images `index` (int64) as float32 in [0, 1], shape (len(index), c, h, w)."""
        return self.images[index].to(device).float().div_(255.0)
