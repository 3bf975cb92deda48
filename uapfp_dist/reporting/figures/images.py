"""Images in rows, under captions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.style import PAGE, SMALL, plain, subplots


def perturbed_images(v: np.ndarray, images: np.ndarray, moved: np.ndarray, captions: Sequence[str]) -> Figure:
    """The universal perturbation, and images without and with it.

    Args:
        v: (c, h, w).
        images: (K, c, h, w) in [0, 1].
        moved: (K, c, h, w), clipped.
        captions: K lines, the victim's labels before and after.
    """
    n = len(images) + 1
    each = min(1.25, PAGE / n)
    figure, axes = subplots(each * n, 2 * each + 0.6, 2, n)
    scale = float(np.abs(v).max()) or 1.0
    grid = axes[0].get_gridspec()
    assert grid is not None
    for axis in (axes[0], axes[n]):
        axis.remove()
    # Signed values around mid-grey.
    _picture(figure.add_subplot(grid[:, 0]), v / (2 * scale) + 0.5, f"v, max |v| {scale:.2f}")
    for i, caption in enumerate(captions):
        _picture(axes[1 + i], images[i], "x" if i == 0 else "")
        _picture(axes[n + 1 + i], moved[i], _wrapped(caption))
    return figure


def captioned_images(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Images in a row, a caption over each.

    Args:
        images: (K, c, h, w) in [0, 1].
        captions: K lines; a colon ends the first of two.
    """
    each = min(1.25, PAGE / len(images))
    figure, axes = subplots(each * len(images), each + 0.32, 1, len(images))
    for axis, image, caption in zip(axes, images, captions, strict=True):
        _picture(axis, image, _wrapped(caption))
    return figure


def captioned_rows(images: np.ndarray, captions: Sequence[str], per_row: int = 6) -> Figure:
    """Images in rows, under each its lines.

    Args:
        images: (K, c, h, w) in [0, 1].
        captions: K texts of several lines.
    """
    columns = max(1, min(per_row, len(images)))
    rows = max(1, -(-len(images) // columns))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    each = PAGE / per_row
    figure, axes = subplots(each * columns, (each + 0.14 * lines + 0.05) * rows, rows, columns)
    for axis in axes[len(images) :]:
        axis.set_axis_off()
    for axis, image, caption in zip(axes, images, captions, strict=False):
        _picture(axis, image, "")
        axis.text(0, -0.05, plain(caption), transform=axis.transAxes, va="top", fontsize=SMALL, linespacing=1.15)
    return figure


def _wrapped(caption: str) -> str:
    """With a line break after the first colon: a caption is longer than its image is wide."""
    return plain(caption).replace(": ", ":\n", 1)


def _picture(axis: Axes, image: np.ndarray, title: str) -> None:
    show_image(axis, image)
    axis.set_title(title, fontsize=SMALL)


def show_image(axis: Axes, image: np.ndarray) -> None:
    """One image (c, h, w) in [0, 1], without axes."""
    channels = image.transpose(1, 2, 0)
    if channels.shape[2] == 1:
        axis.imshow(channels[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axis.imshow(channels.clip(0, 1))
    axis.set_axis_off()
