"""How well models are told apart: by method, against whom, at what price, and beside the paper's numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from uapfp_dist.science.figures.observation import over_draws
from uapfp_dist.science.figures.style import (
    COLOURS,
    COLUMN,
    CYCLE,
    GREY,
    LABELS,
    LINES,
    MARKERS,
    PAGE,
    SMALL,
    beside,
    by_value,
    canvas,
    describe,
    finite,
    legend,
    named_rows,
    need,
    nothing,
    plain,
    reference,
    series,
    strip,
    words,
)

OURS = "uap"
"""Methods whose names begin so are the paper's and ours; all others are references."""


def roc_curves(
    curves: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], areas: Mapping[str, float | None]
) -> Figure:
    """Mean ROC over draws, piracy against homologous, one line per method.

    Args:
        curves: method to (positive scores, negative scores) of every draw; draws without a side are left out.
        areas: method to mean AUC.
    """
    figure, (axis,) = canvas(PAGE * 0.85, 3.6)
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (4, 2)))
    area = {m: np.nan if areas.get(m) is None else float(areas[m]) for m in curves}  # type: ignore[arg-type]
    drawn = sorted(curves, key=lambda m: -np.nan_to_num(area[m], nan=-1.0))
    grid = np.linspace(0, 1, 201)
    for i, method in enumerate(drawn):
        usable = [(finite(p), finite(n)) for p, n in curves[method] if len(finite(p)) and len(finite(n))]
        if usable:
            axis.plot(
                grid,
                np.mean([roc(p, n, grid) for p, n in usable], axis=0),
                LINES[(i // len(CYCLE) * 2 + i % 2) % len(LINES)],
                color=CYCLE[i % len(CYCLE)],
                lw=2.2 if method.startswith(OURS) else 1.1,
                label=f"{words(method)} ({area[method]:.2f})",
            )
    axis.set_aspect("equal")
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.01)
    describe(axis, "homologous models accused", "piracy models caught")
    legend(figure, where="outside right center", title="method (mean AUC)")
    return figure


def roc(positive: np.ndarray, negative: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rate at each false positive rate of `grid`, ties joined by a slope (which counts them half)."""
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    false = [0.0, *((negative >= t).mean() for t in thresholds)]
    true = [0.0, *((positive >= t).mean() for t in thresholds)]
    return np.interp(grid, false, true)


def group_strips(groups: Mapping[str, Mapping[str, Sequence[float]]], thresholds: Mapping[str, float | None]) -> Figure:
    """Score of every model by group, one panel per method.

    Args:
        groups: method to role to scores.
        thresholds: method to the score above which a claim is made, or None.
    """
    order = [role for role in LABELS if any(role in roles for roles in groups.values())]
    n = max(1, len(groups))
    figure, axes = canvas(min(PAGE, 2.6 * n + 1.7), 0.36 * max(2, len(order)) + 1.0, 1, n, sharey=True)
    for axis, (method, roles) in zip(axes, groups.items(), strict=False):
        for y, role in enumerate(order):
            strip(axis, roles.get(role, ()), y, role)
        threshold = thresholds.get(method)
        if threshold is not None and np.isfinite(threshold):
            reference(axis, threshold, "claim above", vertical=True)
        describe(axis, f"score by {words(method)}")
    named_rows(axes[0], order)
    if not order:
        nothing(axes[0])
    return figure


def auc_bars(areas: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """AUC with 95 % intervals over models, by method and group of innocents.

    Args:
        areas: method to group to (mean, low, high).
    """
    rows = [(m, g, *cell) for m, groups in areas.items() for g, cell in groups.items()]
    return methods_auc(pd.DataFrame(rows, columns=["method", "group", "mean", "low", "high"]))


def methods_auc(table: pd.DataFrame) -> Figure:
    """All methods: AUC against each group of innocents, with its interval.

    Args:
        table: columns `method`, `group` (homologous, other_victim, same_data), `mean`, `low`, `high`; optional
            `queries` (images sent to a suspect, printed at the right) and `budget` (a name: "own", "equal", ...; rows
            of the second and later budgets are drawn hollow, below). Rows with NaN are left out.
    """
    table = need(table, "method", "group", "mean", "low", "high")
    if "budget" not in table.columns:
        table = table.assign(budget="")
    methods, groups = (list(dict.fromkeys(table[c])) for c in ("method", "group"))
    budgets = list(dict.fromkeys(table["budget"]))
    height = (0.19 if len(budgets) < 2 else 0.27) * max(3, len(methods)) + 1.0
    figure, axes = canvas(PAGE, height, 1, max(1, len(groups)), sharey=True)
    for axis, group in zip(axes, groups, strict=False):
        for i in range(1, len(methods), 2):
            axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
        for j, budget in enumerate(budgets):
            shift = (j - (len(budgets) - 1) / 2) * 0.36
            rows = table[(table["group"] == group) & (table["budget"] == budget)].dropna(subset=["mean"])
            for _, row in rows.iterrows():
                y = methods.index(row["method"]) + shift
                _dot(axis, row, y, str(row["method"]).startswith(OURS), j == 0)
        reference(axis, 0.5, "chance", vertical=True)
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        describe(axis, f"AUC against\n{words(group)}")
    named_rows(axes[0], methods)
    if not methods:
        nothing(axes[0])
    _queries(axes[-1], table, methods)
    axes[0].plot([], [], "o", color=CYCLE[1], ms=4.5, label="UAP fingerprints")
    axes[0].plot([], [], "s", color=CYCLE[0], ms=4.5, label="other methods")
    for j, budget in enumerate(budgets if len(budgets) > 1 else ()):
        axes[0].plot(
            [], [], "D", mfc="black" if j == 0 else "white", color="black", ms=4, label=f"{words(budget)} budget"
        )
    legend(figure)
    return figure


def _dot(axis: Axes, row: pd.Series, y: float, ours: bool, filled: bool) -> None:
    colour = CYCLE[1] if ours else CYCLE[0]
    axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
    axis.plot(row["mean"], y, "o" if ours else "s", color=colour, mfc=colour if filled else "white", ms=4.5)


def _queries(axis: Axes, table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Images sent, right of the last panel."""
    if "queries" not in table.columns or table["queries"].isna().all():
        return
    sent = table.dropna(subset=["queries"]).groupby("method", sort=False)["queries"].max()
    for y, method in enumerate(methods):
        if method in sent.index:
            beside(axis, f"{int(sent[method]):,}", y)
    axis.annotate("images", (1.04, 1), xycoords="axes fraction", va="bottom", fontsize=SMALL, color="#555555")


def false_accusations(table: pd.DataFrame, alpha: float) -> Figure:
    """Innocent models accused, by group: the conformal decision against the paper's t-test.

    Args:
        table: one row per group and test, columns `group` (of innocents), `test` (conformal, t_test), `accused` (so
            many models; a mean over draws may be a fraction), `n` (models, not models times draws). Intervals:
            Clopper-Pearson, 95 %.
        alpha: the rate that was promised.
    """
    table = need(table, "group", "test", "accused", "n").dropna(subset=["accused", "n"])
    table = table[table["n"] > 0]
    groups, tests = (list(dict.fromkeys(table[c])) for c in ("group", "test"))
    figure, (axis,) = canvas(COLUMN * 1.35, 0.44 * max(2, len(groups)) + 1.1)
    for _, row in table.iterrows():
        j = tests.index(row["test"])
        y = groups.index(row["group"]) + (j - (len(tests) - 1) / 2) * 0.36
        low, high = clopper_pearson(float(row["accused"]), float(row["n"]))
        axis.plot([low, high], [y, y], color=CYCLE[j], lw=1.5, ls=LINES[j % 2], solid_capstyle="butt")
        axis.plot(
            row["accused"] / row["n"],
            y,
            "os^D"[j % 4],
            color=CYCLE[j],
            mfc=CYCLE[j] if j == 0 else "white",
            ms=5,
            clip_on=False,
            label={"conformal": "conformal", "t_test": "paper's t-test"}.get(row["test"], words(row["test"])),
        )
        beside(axis, f"{row['accused']:.3g} of {int(row['n'])}", y)
    named_rows(axis, groups)
    if table.empty:
        nothing(axis)
    reference(axis, alpha, f"alpha = {alpha:g}", vertical=True)
    axis.set_xlim(-0.02, 1.02)
    describe(axis, "innocent models accused (95 % interval)")
    legend(figure)
    return figure


def clopper_pearson(k: float, n: float) -> tuple[float, float]:
    """The exact 95 % interval for a rate: k of n, 0 <= k <= n."""
    low = 0.0 if k <= 0 else float(stats.beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k >= n else float(stats.beta.ppf(0.975, k + 1, n - k))
    return low, high


def ablation_lines(
    table: pd.DataFrame, x: str, ys: Sequence[str] = ("auc", "gap"), by: str | None = None, label: str | None = None
) -> Figure:
    """Results against a numeric setting, a panel per result and a line per `by`.

    Args:
        table: one row per value of `x` (and `by` if given), columns `x`, each of `ys` with its interval `<y>_low` and
            `<y>_high`; without intervals one row per draw, of which mean and range are drawn.
        label: of the x axis; default: the column's name.
    """
    table = need(table, x, *ys, *([by] if by else []))
    shown = [y for y in ys if table[y].notna().any()] or list(ys[:1])
    figure, axes = canvas(COLUMN if len(shown) == 1 else PAGE, 2.5, 1, len(shown))
    for axis, y in zip(axes, shown, strict=True):
        over_draws(axis, table, x, y, by)
        describe(axis, label or words(x), _result(y))
    legend(figure)
    return figure


def ablation_bars(
    table: pd.DataFrame, category: str, ys: Sequence[str] = ("auc", "gap"), by: str | None = None
) -> Figure:
    """Results under each of several named settings.

    Args:
        table: as for `ablation_lines`, with the column `category` for `x`; `by` has a mark each.
    """
    table = need(table, category, *ys, *([by] if by else []))
    names = list(dict.fromkeys(table[category]))
    shown = [y for y in ys if table[y].notna().any()] or list(ys[:1])
    parts = list(table.groupby(by, sort=False)) if by else [("", table)]
    height = (0.16 + 0.12 * len(parts)) * max(3, len(names)) + 0.9
    figure, axes = canvas(PAGE if len(shown) > 1 else PAGE * 0.7, height, 1, len(shown), sharey=True)
    for axis, y in zip(axes, shown, strict=True):
        for j, (part, rows) in enumerate(parts):
            found = by_value(rows, category, y)
            at = np.array([names.index(name) for name in found[category]]) + (j - (len(parts) - 1) / 2) * 0.24
            style = series(part, j) | {"ls": ""}
            axis.hlines(at, found["low"], found["high"], color=style["color"], lw=1.4)
            axis.plot(found["mean"], at, ms=4.5, label=words(part) if by else None, **style)
        if table[y].isna().all():
            nothing(axis)
        describe(axis, _result(y))
    named_rows(axes[0], names)
    legend(figure)
    return figure


def _result(y: str) -> str:
    return {"auc": "AUC", "gap": "similarity gap", "p_value": "p-value"}.get(y, words(y))


def table_vs_paper(ours: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Tables 2 and 3 as a picture: mean and standard deviation of similarity, the paper's hollow.

    Args:
        ours: one row per architecture and optimizer, columns `architecture`, `optimizer`, `piracy_mean`, `piracy_std`,
            `homologous_mean`, `homologous_std`; NaN where nothing was measured.
        published: the same, as `paper.table` gives it; optimizer None where the paper has none.
    """
    key = ["architecture", "optimizer"]
    columns = [*key, *(f"{role}_{what}" for role in ("piracy", "homologous") for what in ("mean", "std"))]
    sides = [need(side, *columns) for side in (published, ours)]
    both = pd.concat(sides)
    order = list(dict.fromkeys(both["architecture"]))
    names = sorted(dict.fromkeys(both.apply(_row_name, axis=1)), key=lambda name: order.index(name.split(", ")[0]))
    figure, (axis,) = canvas(PAGE * 0.8, 0.27 * max(2, len(names)) + 1.0)
    for i in range(1, len(names), 2):
        axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
    for side, whose, shift in ((sides[1], "ours", -0.17), (sides[0], "paper", 0.17)):
        for _, row in side.iterrows():
            for role in ("piracy", "homologous"):
                _mean_std(axis, row, role, names.index(_row_name(row)) + shift, whose)
    axis.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=SMALL)
    axis.set_ylim(max(len(names), 1) - 0.4, -0.6)
    if not names:
        nothing(axis)
    axis.set_xlim(-0.03, 1.03)
    describe(axis, "similarity to the victim, mean ± std")
    legend(figure, 2)
    return figure


def _row_name(row: pd.Series) -> str:
    optimizer = row["optimizer"]
    return f"{row['architecture']}" if pd.isna(optimizer) or not optimizer else f"{row['architecture']}, {optimizer}"


def _mean_std(axis: Axes, row: pd.Series, role: str, y: float, whose: str) -> None:
    mean, std = row[f"{role}_mean"], row[f"{role}_std"]
    if pd.isna(mean):
        return
    std = 0.0 if pd.isna(std) else std
    colour = COLOURS[role]
    axis.plot([mean - std, mean + std], [y, y], color=colour, lw=1.5 if whose == "ours" else 0.9)
    axis.plot(
        mean,
        y,
        MARKERS[role],
        color=colour,
        mfc=colour if whose == "ours" else "white",
        ms=5,
        clip_on=False,
        label=f"{LABELS[role]}, {whose}",
    )
