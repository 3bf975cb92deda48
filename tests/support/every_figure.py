"""Every figure from made-up numbers, full and poor."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
from drawing import drawn
from matplotlib.figure import Figure

from uapfp_dist.reporting import figures, paper

GROUPS = ("homologous", "other_victim", "same_data")
FIGURE_7 = ("UAP at xi", "LAP, minimal", "UAPs at .5 and .7 xi, averaged", "LAP at .5 and .7 xi, averaged")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers, the same every time."""
    return np.random.default_rng(seed).normal(size=shape)


def some(mean: float, n: int, std: float = 0.1) -> np.ndarray:
    """(n,) numbers in [0, 1] around a mean."""
    return np.clip(mean + std * noise(n, seed=n), 0, 1)


def resampled(name: str, values: tuple[object, ...], groups: tuple[str, ...] = GROUPS) -> pd.DataFrame:
    """Ten resamples for each value of a setting and each group."""
    rows = [
        {name: value, "group": group, "gap": 0.5 + 0.04 * i - 0.1 * j, "auc": 0.7 + 0.02 * i - 0.08 * j}
        for i, value in enumerate(values)
        for j, group in enumerate(groups)
        for _ in range(10)
    ]
    table = pd.DataFrame(rows)
    return table.assign(gap=table["gap"] + 0.03 * noise(len(table)), auc=table["auc"] + 0.02 * noise(len(table)))


def modified() -> pd.DataFrame:
    """Ten models of two roles under nine modifications; the unmodified stand in the middle."""
    names = [
        "prune .2",
        "prune .4",
        "prune .6",
        "fine-tune all",
        "unmodified",
        "INT8",
        "distill",
        "x_y",
        "new last",
    ]
    rows = [
        {"modification": name, "role": role, "similarity": s, "accuracy": 0.9 - 0.01 * i + 0.005 * s}
        for i, name in enumerate(names)
        for role, mean in (("piracy", 0.9), ("homologous", 0.2))
        for s in some(mean - 0.01 * i, 10)
    ]
    return pd.DataFrame(rows)


def hardened() -> pd.DataFrame:
    """Five models of two roles along adversarial training with two kinds of labels."""
    rows = [
        {"iterations": n, "role": role, "labels": labels, "similarity": s - n / 900, "accuracy": 0.9 - n / 1600}
        for labels in ("own", "true")
        for n in range(0, 271, 30)
        for role, mean in (("piracy", 0.9), ("homologous", 0.2))
        for s in some(mean, 5)
    ]
    return pd.DataFrame(rows)


def attacked(panels: int = 7) -> pd.DataFrame:
    """Every family of attacks, on both sides, by so many tests."""
    changes = ["as it is", "adversarial training 30", ".5 of the labels true", "stolen at second hand", "queries, x",
               "answers rounded", "prune .4, fine-tune", "a, b", "label noise .1", "PGD training .02", "guessed churn",
               "fine-tune", "prune .2", "INT8", "distillation on fresh images", "distillation",
               "residual net"]  # fmt: skip
    rows = [
        {"panel": f"weighted errors {i}\n1,000 images", "change": change, "stolen": stolen, "lost": j - 2.0,
         "caught": (1 - j / 20) * stolen}
        for i in range(panels) for j, change in enumerate(changes) for stolen in (True, False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def stolen() -> pd.DataFrame:
    """Piracy models at many recovery rates, and homologous ones."""
    rate = np.linspace(0.75, 0.96, 90)
    table = pd.DataFrame({"role": "piracy", "recovery": rate, "similarity": rate - 0.02 + 0.03 * noise(90)})
    table["p_value"] = np.linspace(0.4, 0.02, 90)
    return pd.concat([table, pd.DataFrame({"role": "homologous", "similarity": some(0.2, 20)})])


def methods(budgets: tuple[str, ...] = ("own",)) -> pd.DataFrame:
    """Twelve methods against three groups."""
    rows = [
        {"method": f"{name}_{i}", "group": group, "budget": budget, "mean": m, "low": m - 0.1, "high": min(1, m + 0.08),
         "queries": 3998 - i}
        for i, name in enumerate(("uap", "weighted_errors", "natural_errors_controls") * 4)
        for group in GROUPS
        for budget in budgets
        for m in (0.9 - 0.03 * i,)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def accused() -> pd.DataFrame:
    """Three groups under two tests."""
    rows = [("homologous", 0.31, 10), ("other_victim_piracy", 4.85, 6), ("same_data", 3, 3)]
    return pd.DataFrame(
        [{"group": g, "test": t, "accused": k, "n": n} for g, k, n in rows for t in ("conformal", "t_test")]
    )


def table_2() -> pd.DataFrame:
    """The paper's Table 2, as if measured."""
    published = paper.table("fashion_mnist")
    assert published is not None
    return published


def images(n: int, channels: int) -> np.ndarray:
    """(n, channels, 9, 9)."""
    return some(0.5, n * channels * 81).reshape(n, channels, 9, 9)


def plane() -> tuple[np.ndarray, list[str]]:
    """120 fingerprints of three types."""
    return noise(120, 2), ["piracy"] * 50 + ["homologous"] * 50 + ["victim"] * 20


EVERY_WAY = (
    "unmodified", "fine-tune", "fine-tune last layer", "fine-tune new last layer",
    *(f"prune .{share}{then}" for share in range(2, 7) for then in ("", " + recovery")),
    "INT8", "distillation", "prune .4 + fine-tune",
    "adversarial training 270 (own labels)", "adversarial training 270 (true labels)",
)  # fmt: skip

ROLES = ("piracy", "soft_piracy", "homologous", "calibration", "calibration_piracy", "same_data", "other_victim_piracy")

FULL: dict[str, Callable[[], Figure]] = {
    "fig2a": lambda: figures.fig2a_projections(
        {"victim": np.array([[0.4, 0.1, 0.07, 0.05, 0.04]]), "piracy": 0.3 + 0.02 * noise(20, 5),
         "homologous": 0.1 + 0.01 * noise(20, 5)}
    ),
    "fig2b": lambda: figures.fig2b_inconsist({r: 0.03 * (i + 1) + some(0.05, 20) for i, r in enumerate(ROLES)}),
    "fig5": lambda: figures.similarity_cdf(
        {a: {"piracy": some(0.9, 90), "homologous": some(0.1, 90)} for a in ("densenet121", "googlenet", "B", "C")},
        "fingerprint similarity to the victim (uap_paper, probabilities)",
    ),
    "fig5, five": lambda: figures.similarity_cdf({a: {"piracy": some(0.9, 90)} for a in "ABCDE"}, "five"),
    "fig6 n": lambda: figures.fig6_n_points(resampled("n_points", (10, 30, 50, 70, 100))),
    "fig6 k": lambda: figures.fig6_top_k(resampled("top_k", tuple(range(11))), {k: 1 - 0.1**k for k in range(1, 11)}),
    "fig6 k, 200 classes": lambda: figures.fig6_top_k(resampled("top_k", (0, *range(1, 201, 10), 200))),
    "fig6 recovery": lambda: figures.fig6_recovery(stolen()),
    "fig6 recovery, no p": lambda: figures.fig6_recovery(stolen().drop(columns="p_value")),
    "fig7": lambda: figures.fig7_uap_vs_lap(
        {name: {"piracy": some(0.9, 90), "homologous": some(0.1, 90)} for name in FIGURE_7}
    ),
    "fig8 modifications": lambda: figures.fig8_modifications(modified(), 0.7),
    "fig8 adversarial": lambda: figures.fig8_adversarial(hardened()),
    "utility": lambda: figures.utility_similarity(modified()),
    "removal": lambda: figures.removal(attacked(), "share caught"),
    "removal, kit": lambda: figures.removal(attacked(3), "share accused at alpha 0.05", 0.05),
    "utility, every way": lambda: figures.utility_similarity(
        pd.concat([modified().assign(modification=name) for name in EVERY_WAY])
    ),
    "methods": lambda: figures.methods_auc(methods()),
    "methods, two budgets": lambda: figures.methods_auc(methods(("own", "equal"))),
    "auc bars": lambda: figures.auc_bars({m: dict.fromkeys(GROUPS, (0.9, 0.8, 1.0)) for m in ("uap", "clean", "lap")}),
    "false accusations": lambda: figures.false_accusations(accused(), 0.05),
    "ablation lines": lambda: figures.ablation_lines(resampled("overlap", (0.0, 0.5, 1.0)), "overlap", by="group"),
    "ablation line": lambda: figures.ablation_lines(resampled("n_views", (5, 20, 200), ("a",)), "n_views", ("auc",)),
    "ablation bars": lambda: figures.ablation_bars(resampled("loss", ("Eq. 7", "autoencoder")), "loss", by="group"),
    "table vs paper": lambda: figures.table_vs_paper(table_2(), table_2()),
    "groups": lambda: figures.group_strips(
        {m: {r: list(some(0.1 * i, 10)) for i, r in enumerate(ROLES)} for m in ("uap", "weighted_errors")}, {"uap": 0.6}
    ),
    "roc": lambda: figures.roc_curves(
        {f"weighted_errors_{i}": [(some(0.6, 8, 0.2), some(0.4, 9, 0.2))] * 3 for i in range(13)},
        {f"weighted_errors_{i}": 0.9 - i / 50 for i in range(13)},
    ),
    "tsne": lambda: figures.fig3_tsne({"UAP fingerprints": plane(), "local perturbation fingerprints": plane()}),
    "pictures": lambda: figures.perturbed_images(
        noise(1, 9, 9), images(6, 1), images(6, 1), ["x + v: ankle boot to bag"] * 6
    ),
    "pictures, colour": lambda: figures.perturbed_images(
        noise(3, 9, 9), images(2, 3), images(2, 3), ["x + v: stays 1"] * 2
    ),
}  # fmt: skip

NAN = float("nan")

POOR: dict[str, Callable[[], Figure]] = {
    "fig2a, none": lambda: figures.fig2a_projections({}),
    "fig2a, one, NaN": lambda: figures.fig2a_projections({"piracy": np.ones((1, 3)), "victim": np.full((2, 5), NAN)}),
    "fig2b, none": lambda: figures.fig2b_inconsist({}),
    "fig2b, one": lambda: figures.fig2b_inconsist({"piracy": [0.1], "homologous": []}),
    "fig5, none": lambda: figures.similarity_cdf({}, "nothing"),
    "fig5, one": lambda: figures.similarity_cdf({"B": {"piracy": np.array([0.5]), "homologous": np.array([])}}, "one"),
    "fig6 n, none": lambda: figures.fig6_n_points(pd.DataFrame()),
    "fig6 n, one": lambda: figures.fig6_n_points(pd.DataFrame([{"n_points": 60, "gap": 0.5, "auc": NAN}])),
    "fig6 k, none": lambda: figures.fig6_top_k(pd.DataFrame(), {}),
    "fig6 k, one": lambda: figures.fig6_top_k(pd.DataFrame([{"top_k": 1, "gap": 0.5, "auc": 0.9}]), {3: NAN}),
    "recovery, none": lambda: figures.fig6_recovery(pd.DataFrame()),
    "recovery, one": lambda: figures.fig6_recovery(
        pd.DataFrame([{"role": "piracy", "recovery": 0.5, "similarity": 0.4, "p_value": 1.0}])
    ),
    "recovery, homologous only": lambda: figures.fig6_recovery(
        pd.DataFrame([{"role": "homologous", "recovery": NAN, "similarity": 0.4, "p_value": 0.5}])
    ),
    "fig7, none": lambda: figures.fig7_uap_vs_lap({}),
    "fig7, a side": lambda: figures.fig7_uap_vs_lap({"UAP": {"piracy": np.array([0.5, NAN])}}),
    "modifications, none": lambda: figures.fig8_modifications(pd.DataFrame()),
    "modifications, one": lambda: figures.fig8_modifications(modified().iloc[:1], NAN),
    "adversarial, none": lambda: figures.fig8_adversarial(pd.DataFrame()),
    "adversarial, one": lambda: figures.fig8_adversarial(hardened().iloc[:1].assign(accuracy=NAN)),
    "removal, none": lambda: figures.removal(pd.DataFrame(), "share caught"),
    "removal, NaN": lambda: figures.removal(attacked(1).assign(lost=NAN), "share caught"),
    "utility, none": lambda: figures.utility_similarity(pd.DataFrame()),
    "utility, one": lambda: figures.utility_similarity(modified().iloc[:1]),
    "methods, none": lambda: figures.methods_auc(pd.DataFrame()),
    "methods, NaN": lambda: figures.methods_auc(methods().iloc[:2].assign(mean=NAN, low=NAN, high=NAN)),
    "auc bars, a group missing": lambda: figures.auc_bars({"uap": {"homologous": (0.9, 0.8, 1.0)}, "lap": {}}),
    "auc bars, none": lambda: figures.auc_bars({}),
    "false accusations, none": lambda: figures.false_accusations(pd.DataFrame(), 0.05),
    "false accusations, n 0": lambda: figures.false_accusations(accused().assign(n=0), 0.05),
    "lines, none": lambda: figures.ablation_lines(pd.DataFrame(), "overlap"),
    "lines, NaN": lambda: figures.ablation_lines(resampled("x", (1,)).assign(gap=NAN), "x", ("gap",), by="group"),
    "bars, none": lambda: figures.ablation_bars(pd.DataFrame(), "loss"),
    "table, none": lambda: figures.table_vs_paper(pd.DataFrame(), pd.DataFrame()),
    "table, not measured": lambda: figures.table_vs_paper(table_2().assign(piracy_mean=NAN, piracy_std=NAN), table_2()),
    "groups, none": lambda: figures.group_strips({}, {}),
    "groups, one": lambda: figures.group_strips({"uap": {"piracy": [0.5]}}, {"uap": None}),
    "roc, none": lambda: figures.roc_curves({}, {}),
    "roc, a side missing": lambda: figures.roc_curves({"uap": [(np.array([1.0]), np.array([]))]}, {"uap": None}),
    "tsne, none": lambda: figures.fig3_tsne({}),
    "tsne, one": lambda: figures.fig3_tsne({"UAP": (np.zeros((1, 2)), ["victim"])}),
    "pictures, none": lambda: figures.perturbed_images(np.zeros((1, 9, 9)), images(0, 1), images(0, 1), []),
}  # fmt: skip


@cache
def shown(name: str) -> Figure:
    """A figure of the two lists, drawn once for all tests."""
    return drawn({**FULL, **POOR}[name])
