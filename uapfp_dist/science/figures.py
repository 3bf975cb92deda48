"""One function per figure: numbers in, a Figure out. One family: same fonts, a palette safe for the colour-blind."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe-Ito; every series also differs in marker or line style.
COLOURS = {
    "piracy": "#D55E00",
    "soft_piracy": "#E69F00",
    "homologous": "#0072B2",
    "calibration": "#56B4E9",
    "calibration_piracy": "#999999",
    "same_data": "#009E73",
    "other_victim_piracy": "#CC79A7",
    "victim": "#000000",
}
LABELS = {
    "piracy": "piracy",
    "soft_piracy": "piracy, soft labels",
    "homologous": "homologous",
    "calibration": "homologous (calibration)",
    "calibration_piracy": "piracy of others (calibration)",
    "same_data": "homologous, same data",
    "other_victim_piracy": "piracy of another victim",
    "victim": "victim",
}
MARKERS = {"piracy": "o", "soft_piracy": "D", "homologous": "s", "same_data": "^", "other_victim_piracy": "v"}
LINES = ("-", "--", ":", "-.")
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def _figure(
    width: float, height: float, rows: int = 1, columns: int = 1, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, list(axes.flat)


def similarity_cdf(similarities: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """Figure 5: distribution of fingerprint similarity by architecture.

    Args:
        similarities: architecture to role to all similarities of its fingerprints.
    """
    n = max(1, len(similarities))
    figure, axes = _figure(2.6 * n, 2.9, 1, n, sharey=True)
    edges = np.linspace(0, 1, 11)  # the paper's bins of .1
    for axis, (architecture, roles) in zip(axes, sorted(similarities.items()), strict=False):
        for role, values in roles.items():
            share = [(values <= edge).mean() for edge in edges]
            style = "-" if role == "piracy" else "--"
            axis.plot(edges, share, style, marker=MARKERS[role], ms=3.5, color=COLOURS[role], label=LABELS[role])
        axis.set_title(f"architecture {architecture}", fontsize=9)
        axis.set_xlabel("similarity", fontsize=9)
        axis.set_ylim(-0.03, 1.03)
    axes[0].set_ylabel("share of fingerprints below", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def roc_curves(curves: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], areas: Mapping[str, float]) -> Figure:
    """Mean ROC over draws, piracy against homologous, one line per method.

    Args:
        curves: method to (positive scores, negative scores) of every draw.
        areas: method to mean AUC.
    """
    figure, (axis,) = _figure(7.2, 4.2)
    grid = np.linspace(0, 1, 201)
    for i, (method, draws) in enumerate(sorted(curves.items(), key=lambda item: -areas[item[0]])):
        rates = []
        for positive, negative in draws:
            thresholds = np.quantile(negative, 1 - grid, method="higher")
            rates.append([(positive > t).mean() + 0.5 * (positive == t).mean() for t in thresholds])
        axis.plot(
            grid, np.mean(rates, axis=0), LINES[i // len(CYCLE) % 4] if i >= len(CYCLE) else LINES[i % 2],
            color=CYCLE[i % len(CYCLE)], lw=1.6, label=f"{method} ({areas[method]:.2f})",
        )  # fmt: skip
    axis.plot([0, 1], [0, 1], color="#bbbbbb", lw=0.8)
    axis.set_xlabel("homologous models accused (false positive rate)", fontsize=9)
    axis.set_ylabel("piracy models caught (true positive rate)", fontsize=9)
    axis.legend(
        fontsize=7,
        frameon=False,
        title="method (mean AUC)",
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
    )
    return figure


def group_strips(groups: Mapping[str, Mapping[str, Sequence[float]]], thresholds: Mapping[str, float | None]) -> Figure:
    """Score of every model by group, one panel per method.

    Args:
        groups: method to role to scores.
        thresholds: method to the score above which a claim is made, or None.
    """
    figure, axes = _figure(4.6 * len(groups), 3.6, 1, len(groups))
    for axis, (method, roles) in zip(axes, groups.items(), strict=True):
        order = [role for role in LABELS if role in roles]
        for y, role in enumerate(order):
            values = np.asarray(roles[role])
            jitter = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.5
            axis.scatter(
                values,
                y + jitter,
                s=22,
                color=COLOURS[role],
                marker=MARKERS.get(role, "x"),
                alpha=0.8,
                lw=0.8,
            )
        threshold = thresholds.get(method)
        if threshold is not None:
            axis.axvline(threshold, color="#333333", lw=1, ls="--")
            axis.text(threshold, len(order) - 0.42, " claim above", fontsize=7, va="bottom")
        axis.set_yticks(range(len(order)), [LABELS[role] for role in order], fontsize=8)
        axis.set_ylim(-0.6, len(order) - 0.3)
        axis.invert_yaxis()
        axis.set_xlabel(f"score by {method}", fontsize=9)
    return figure


def auc_bars(areas: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """AUC with 95 % intervals over models, by method and group of innocents.

    Args:
        areas: method to group to (mean, low, high).
    """
    groups = list(next(iter(areas.values())))
    figure, axes = _figure(3.0 * len(groups) + 1, 0.32 * len(areas) + 1.1, 1, len(groups), sharey=True)
    for axis, group in zip(axes, groups, strict=True):
        for y, (method, cells) in enumerate(areas.items()):
            mean, low, high = cells[group]
            colour = CYCLE[1] if method.startswith("uap") else CYCLE[0]
            axis.plot([low, high], [y, y], color=colour, lw=1.5)
            axis.plot(mean, y, "o" if method.startswith("uap") else "s", color=colour, ms=5)
        axis.axvline(0.5, color="#bbbbbb", lw=0.8)
        axis.set_xlim(-0.03, 1.03)
        axis.set_xlabel(f"AUC against {group.replace('_', ' ')}", fontsize=9)
    axes[0].set_yticks(range(len(areas)), list(areas), fontsize=8)
    axes[0].invert_yaxis()
    return figure


def tsne(embeddings: Mapping[str, tuple[np.ndarray, Sequence[str]]]) -> Figure:
    """Figure 3: t-SNE of fingerprints, one panel per kind of perturbation.

    Args:
        embeddings: title to ((N, 2) coordinates, role of each fingerprint).
    """
    figure, axes = _figure(3.6 * len(embeddings), 3.6, 1, len(embeddings))
    for axis, (title, (points, roles)) in zip(axes, embeddings.items(), strict=True):
        for role in ("homologous", "piracy", "victim"):
            chosen = np.array([r == role for r in roles])
            axis.scatter(
                points[chosen, 0],
                points[chosen, 1], s=14 if role != "victim" else 30, color=COLOURS[role],
                marker={"victim": "*"}.get(role, MARKERS.get(role, "o")), alpha=0.7, lw=0, label=LABELS[role],
            )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].legend(fontsize=7, frameon=False)
    return figure


def perturbed_images(v: np.ndarray, images: np.ndarray, moved: np.ndarray, captions: Sequence[str]) -> Figure:
    """The universal perturbation, and images without and with it.

    Args:
        v: (c, h, w).
        images: (K, c, h, w) in [0, 1].
        moved: (K, c, h, w), clipped.
        captions: K lines, what the victim says before and after.
    """
    figure, axes = _figure(1.25 * (len(images) + 1), 3.1, 2, len(images) + 1)
    scale = float(np.abs(v).max()) or 1.0
    # Signed values around mid-grey.
    _picture(axes[0], v / (2 * scale) + 0.5, f"v (max |v| = {scale:.2f})")
    axes[len(images) + 1].set_visible(False)
    for i, caption in enumerate(captions):
        _picture(axes[1 + i], images[i], "x" if i == 0 else "")
        _picture(axes[len(images) + 2 + i], moved[i], caption)
    return figure


def _picture(axis: Axes, image: np.ndarray, title: str) -> None:
    channels = image.transpose(1, 2, 0)
    if channels.shape[2] == 1:
        axis.imshow(channels[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axis.imshow(channels.clip(0, 1))
    axis.set_title(title, fontsize=7)
    axis.set_axis_off()
