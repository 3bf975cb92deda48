"""Figures: one function each, from numbers to a matplotlib Figure; all share `style`.

Missing data (a missing group, NaN, a single model) are left out of a figure; they are no error.
"""

from uapfp_dist.reporting.figures.ablations import ablation_bars, ablation_lines
from uapfp_dist.reporting.figures.accusations import false_accusations
from uapfp_dist.reporting.figures.churn import churn_auc
from uapfp_dist.reporting.figures.groups import accused_strips, group_strips
from uapfp_dist.reporting.figures.headline import headline
from uapfp_dist.reporting.figures.images import captioned_rows, perturbed_images
from uapfp_dist.reporting.figures.methods import auc_bars, methods_auc
from uapfp_dist.reporting.figures.paper_table import table_vs_paper
from uapfp_dist.reporting.figures.recovery import RECOVERY_EDGES, fig6_recovery, recovery_bin, recovery_methods
from uapfp_dist.reporting.figures.removal import removal
from uapfp_dist.reporting.figures.robustness import fig8_adversarial, fig8_modifications, utility_similarity
from uapfp_dist.reporting.figures.roc import roc_curves
from uapfp_dist.reporting.figures.similarity import fig7_uap_vs_lap, similarity_cdf
from uapfp_dist.reporting.figures.style import COLOURS, LABELS, MARKERS
from uapfp_dist.reporting.figures.subspace import fig2a_projections, fig2b_inconsist
from uapfp_dist.reporting.figures.sweeps import fig6_n_points, fig6_top_k
from uapfp_dist.reporting.figures.tsne import fig3_tsne

__all__ = [
    "COLOURS",
    "LABELS",
    "MARKERS",
    "RECOVERY_EDGES",
    "ablation_bars",
    "ablation_lines",
    "accused_strips",
    "auc_bars",
    "captioned_rows",
    "churn_auc",
    "false_accusations",
    "fig2a_projections",
    "fig2b_inconsist",
    "fig3_tsne",
    "fig6_n_points",
    "fig6_recovery",
    "fig6_top_k",
    "fig7_uap_vs_lap",
    "fig8_adversarial",
    "fig8_modifications",
    "group_strips",
    "headline",
    "methods_auc",
    "perturbed_images",
    "recovery_bin",
    "recovery_methods",
    "removal",
    "roc_curves",
    "similarity_cdf",
    "table_vs_paper",
    "utility_similarity",
]
