"""Figure 3: fingerprints projected to two dimensions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.marks import marker_fill
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    GREY,
    LABELS,
    MARKERS,
    PAGE,
    describe_axes,
    legend,
    plain,
    subplots,
)


def fig3_tsne(embeddings: Mapping[str, tuple[np.ndarray, Sequence[str]]]) -> Figure:
    """t-SNE of fingerprints, one panel per kind of perturbation.

    Args:
        embeddings: title to ((N, 2) coordinates, role of each fingerprint).
    """
    n = max(1, len(embeddings))
    figure, axes = subplots(min(PAGE, 3.4 * n), 3.4, 1, n)
    for axis, (title, (points, roles)) in zip(axes, embeddings.items(), strict=False):
        for role in ("homologous", "piracy", "victim"):
            chosen = np.array([r == role for r in roles], dtype=bool)
            if chosen.any():
                axis.scatter(
                    points[chosen, 0],
                    points[chosen, 1],
                    s=70 if role == "victim" else 13,
                    marker=MARKERS[role],
                    facecolors=marker_fill(role),
                    edgecolors="white" if role == "victim" else COLOURS[role],
                    linewidths=0.7,
                    label=LABELS[role],
                )
        describe_axes(axis, title=plain(title))
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color(GREY)
    legend(figure)
    return figure
