"""One function per figure: numbers in, a matplotlib Figure out. One family, see `style`.

What was not measured (a missing group, NaN, a single model) is left out of a figure, not an error.
"""

from uapfp_dist.science.figures.detection import (
    ablation_bars,
    ablation_lines,
    auc_bars,
    false_accusations,
    group_strips,
    methods_auc,
    roc_curves,
    table_vs_paper,
)
from uapfp_dist.science.figures.observation import (
    RECOVERY_EDGES,
    fig2a_projections,
    fig2b_inconsist,
    fig6_n_points,
    fig6_recovery,
    fig6_top_k,
    fig7_uap_vs_lap,
    recovery_bin,
    similarity_cdf,
)
from uapfp_dist.science.figures.pictures import perturbed_images, tsne
from uapfp_dist.science.figures.robustness import fig8_adversarial, fig8_modifications, utility_similarity
from uapfp_dist.science.figures.style import COLOURS, LABELS, MARKERS

__all__ = [
    "COLOURS",
    "LABELS",
    "MARKERS",
    "RECOVERY_EDGES",
    "ablation_bars",
    "ablation_lines",
    "auc_bars",
    "false_accusations",
    "fig2a_projections",
    "fig2b_inconsist",
    "fig6_n_points",
    "fig6_recovery",
    "fig6_top_k",
    "fig7_uap_vs_lap",
    "fig8_adversarial",
    "fig8_modifications",
    "group_strips",
    "methods_auc",
    "perturbed_images",
    "recovery_bin",
    "roc_curves",
    "similarity_cdf",
    "table_vs_paper",
    "tsne",
    "utility_similarity",
]
