"""Figure 3: t-SNE of fingerprints."""

from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from uapfp_dist.fingerprints.blocks import LAP_PAPER, PAPER
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import PROBABILITIES

TSNE_MODELS = 4
"""Models of each type that are shown."""


def tsne(data: ReportData) -> ReportSection:
    """Figure 3: t-SNE of the test fingerprints (probabilities) of the victim and a few models of each type."""
    matrix, resample = data.matrix, data.resamples[0].resample
    piracy = resample.tested(matrix.members, "piracy")[:TSNE_MODELS]
    homologous = resample.tested(matrix.members, "homologous")[:TSNE_MODELS]
    rows = [0, *piracy, *homologous]
    roles = [matrix.members[row].role for row in rows for _ in range(matrix.n_test_views)]
    found = {}
    for title, block in (("UAP fingerprints", PAPER), ("local perturbation fingerprints", LAP_PAPER)):
        prints = matrix.fingerprints(rows, block, PROBABILITIES, matrix.n_test_views)
        flat = prints.flatten(0, 1).numpy()
        with threadpool_limits(1):
            # PCA as a start draws no random numbers
            points = TSNE(perplexity=min(30.0, len(flat) / 4), init="pca", random_state=0).fit_transform(flat)
        found[title] = (points, roles)
    return ReportSection(
        "fig3_tsne",
        "Figure 3: t-SNE of fingerprints",
        f"Test fingerprints of the victim and of {len(piracy)} stolen and {len(homologous)} independent test models of "
        f"resample 0, universal beside local perturbations of the paper's norm. {data.setting}.",
        {},
        {"fig3_tsne": figures.fig3_tsne(found)},
    )
