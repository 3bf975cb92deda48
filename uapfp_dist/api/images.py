"""Images in memory, with their labels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their labels, checked when they are made.

    >>> import torch, uapfp_dist as ufp
    >>> ufp.LabelledImages(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 1]), n_classes=3)
    LabelledImages(4 images of 1x8x8, 3 classes)

    Raises:
        UserError: images that are not (N, c, h, w) float32 in [0, 1], labels that are not (N,) int64 in [0, n_classes).
    """

    images: Tensor
    """(N, c, h, w) float32 in [0, 1], N at least 1."""
    labels: Tensor
    """(N,) int64 in [0, n_classes), on the same device."""
    n_classes: int
    """At least 2."""

    def __post_init__(self) -> None:
        checked_images(self.images, "images")
        labels, n = self.labels, len(self.images)
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or tuple(labels.shape) != (n,):
            got = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise UserError(f"labels: expected an int64 tensor ({n},), one for each image, got {got}")
        least, most = int(labels.min()), int(labels.max())
        if self.n_classes < 2 or least < 0 or most >= self.n_classes:
            raise UserError(
                f"labels: expected 0 to {self.n_classes - 1} for {self.n_classes} classes (at least 2), got {least} to "
                f"{most}; give the right n_classes",
                argument="n_classes",
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"LabelledImages({len(self)} images of {shape}, {self.n_classes} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)


SLACK = 1e-4
"""How far rounding may lead out of [0, 1]."""


def checked_images(images: object, argument: str, *, any_float: bool = False) -> Tensor:
    """Images as every function of the API takes them.

    Args:
        images: what was given.
        argument: as what.
        any_float: floats of other sizes will do, as for a module of the user's own.

    Raises:
        UserError: not (N, c, h, w) float32 in [0, 1], or none.
    """
    if not isinstance(images, Tensor):
        raise UserError(
            f"{argument}: expected a torch tensor (N, c, h, w) in [0, 1], got {type(images).__name__}"
            f"{'; torch.from_numpy makes one' if isinstance(images, np.ndarray) else ''}",
            argument=argument,
        )
    if not images.is_floating_point():
        raise UserError(
            f"{argument}: expected float32 in [0, 1], got {images.dtype}; divide pixels by 255: images.float() / 255",
            argument=argument,
        )
    if images.dtype != torch.float32 and not any_float:
        raise UserError(
            f"{argument}: expected float32 in [0, 1], got {images.dtype}; convert them: images.float()",
            argument=argument,
        )
    if images.dim() != 4 or not len(images):
        raise UserError(
            f"{argument}: expected (N, c, h, w) with N at least 1, got {tuple(images.shape)}", argument=argument
        )
    least, most = (float(value) for value in images.detach().aminmax())
    if not (least >= -SLACK and most <= 1 + SLACK):  # NaN is neither
        raise UserError(
            f"{argument}: expected values in [0, 1], got {least:.3g} to {most:.3g}; scale them, and leave mean and std "
            "to wrap",
            argument=argument,
        )
    return images
