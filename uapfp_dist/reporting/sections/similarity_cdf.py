"""Figure 5: the distribution of fingerprint similarity."""

import math

import numpy as np

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.section_schema import SectionNumbers, SimilarityShares
from uapfp_dist.reporting.sections.intervals import interval, with_interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.similarities import similarities_by_architecture, views_by_model

LEVELS = {"piracy": 0.8, "homologous": 0.4}
"""Similarities that the numbers count fingerprints above."""


def cdfs(data: ReportData) -> ReportSection:
    """Figure 5."""
    scoring = data.paper_scoring
    similarities = similarities_by_architecture(data, scoring.method, scoring.format)
    by_architecture = {
        a: SimilarityShares(**{role: _above(level, roles.get(role)) for role, level in LEVELS.items()})
        for a, roles in similarities.items()
    }
    shares: dict[str, float] = {}
    for role, level in LEVELS.items():
        models = views_by_model(data.fingerprints[data.fingerprints["role"] == role])
        if models:
            above = [_above(level, views) for views in models]
            shares |= with_interval(role, _above(level, np.concatenate(models)), interval(above, shares=True))
    return ReportSection(
        "fig5_similarity_cdf",
        "Figure 5: distribution of fingerprint similarity",
        "Cumulative share of the test fingerprints of all resamples, in bins of .1, by architecture. Similarity is by "
        f"{scoring.words}. The paper, on CIFAR-10: all stolen models above .8, at most 20 % of independent ones above "
        f".4. {data.setting}.",
        {},
        {"fig5_similarity_cdf": figures.similarity_cdf(similarities, f"similarity to the victim ({scoring.name})")},
        SectionNumbers(cdf=by_architecture, cdf_all=SimilarityShares(**shares)),
    )


def _above(level: float, similarities: np.ndarray | None) -> float:
    """Share above `level`; NaN without any."""
    return math.nan if similarities is None else float((similarities > level).mean())
