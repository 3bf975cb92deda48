"""A labelled set of images in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.acceleration import acceleration
from uapfp_dist.errors import UserError
from uapfp_dist.pixels import as_float

RESIDENT_BYTES = 256 * 2**20
"""Of a data set that lies on a GPU whole: CIFAR's 60,000 images take 176 MiB, and each worker that shares a GPU holds
a copy. Of a larger one only what is asked for is sent."""


@dataclass(frozen=True)
class Dataset:
    """All images of a data set as 8-bit pixels, the official training images (if any) first."""

    name: str
    images: Tensor
    """(N, c, h, w) uint8; may be a file mapped into memory, shared between processes."""
    labels: Tensor
    """(N,) int64 in [0, n_classes)."""
    class_names: tuple[str, ...]
    n_train: int | None
    """How many come from the official training set; None where there is no official test set."""
    note: str = ""
    """A caveat for results on these images, e.g. that they are not all of the published ones."""
    files: tuple[str, ...] = ()
    """The file of each image, from the data folder on; empty where there are none."""
    facts: tuple[str, ...] = ()
    """How the files were read: sizes, and what was scaled, converted or left out. A line each."""

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
        """SHA-256 over shape, pixels, labels, class names and the position of the official split."""
        sha = hashlib.sha256(f"{tuple(self.images.shape)} {self.n_train} {self.class_names}".encode())
        sha.update(np.ascontiguousarray(self.images.numpy()).data)
        sha.update(np.ascontiguousarray(self.labels.numpy()).data)
        return sha.hexdigest()[:16]

    def pixels(self, index: Tensor, device: torch.device | None = None) -> Tensor:
        """Images `index` (int64) as float32 in [0, 1], shape (len(index), c, h, w)."""
        return as_float(self._bytes(index, device))

    def to_train_on(self, index: Tensor, device: torch.device) -> Tensor:
        """The same for a trainer: uint8 on a GPU, of which each batch becomes float32.

        A GPU holds them in a quarter of the memory, and beside them all images of a data set of at most
        `RESIDENT_BYTES`, once for each process.
        """
        return self._bytes(index, device) if acceleration(device).byte_images else self.pixels(index, device)

    def _bytes(self, index: Tensor, device: torch.device | None) -> Tensor:
        resident = device is not None and device.type != "cpu" and acceleration(device).byte_images
        if device is None or not resident or self.images.nbytes > RESIDENT_BYTES:
            return self.images[index].to(device)
        if device not in self._resident:
            self._resident[device] = self.images.to(device)
        return self._resident[device][index.to(device)]

    @cached_property
    def _resident(self) -> dict[torch.device, Tensor]:
        """All images on a GPU, once some were wanted there; empty where they are too many bytes."""
        return {}

    def __getstate__(self) -> dict[str, object]:
        """Without what lies on a GPU."""
        return {name: value for name, value in vars(self).items() if name != "_resident"}

    def first(self, n_classes: int | None) -> Dataset:
        """Only the images of the first `n_classes` classes, labels as they were; None: all.

        Raises:
            UserError: fewer than two classes, or more than there are.
        """
        names, note = first_classes(self.name, self.class_names, n_classes)
        if len(names) == self.n_classes:
            return self
        keep = self.labels < len(names)
        n_train = None if self.n_train is None else int(keep[: self.n_train].sum())
        return replace(
            self,
            images=self.images[keep],
            labels=self.labels[keep],
            class_names=names,
            n_train=n_train,
            files=tuple(compress(self.files, keep.tolist())),
            note=join_notes(self.note, note),
        )


def first_classes(name: str, classes: tuple[str, ...], n_classes: int | None) -> tuple[tuple[str, ...], str]:
    """The first `n_classes` of the sorted `classes` of data set `name` (None: all), and the note on it.

    Raises:
        UserError: fewer than two classes, or more than there are.
    """
    if n_classes is None or n_classes == len(classes):
        return classes, ""
    if not 2 <= n_classes < len(classes):
        raise UserError(
            f"n_classes: expected 2 to {len(classes)} of the classes of {name}, got {n_classes}; "
            "choose fewer, or none for all"
        )
    return classes[:n_classes], f"the first {n_classes} of {len(classes)} classes"


def join_notes(*notes: str) -> str:
    """Notes on one data set as one line."""
    return "; ".join(note for note in notes if note)
