"""Every table and figure. To add one: a function from ReportData to an ReportSection, a line in SECTIONS."""

from collections.abc import Callable

from uapfp_dist.reporting.sections import (
    controls,
    methods,
    pictures,
    recovery,
    robustness,
    similarity,
    subspace,
    sweeps,
)
from uapfp_dist.reporting.sections.claims import check_claims
from uapfp_dist.reporting.sections.paper_comparison import paper_comparison
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection

SECTIONS: tuple[Callable[[ReportData], ReportSection | None], ...] = (
    pictures.groups,
    methods.methods,
    controls.controls,
    methods.roc,
    similarity.zoo,
    subspace.subspaces,
    similarity.embedding,
    similarity.tables_2_3,
    similarity.cdfs,
    sweeps.n_points,
    sweeps.top_k,
    recovery.recovery,
    similarity.perturbations,
    robustness.modifications,
    robustness.adversarial,
    recovery.overlap,
    sweeps.n_views,
    sweeps.losses,
    sweeps.view_algorithms,
    sweeps.one_architecture,
    pictures.uap,
)
"""In the order of the report; one that has nothing to show gives None."""

__all__ = ["SECTIONS", "ReportData", "ReportSection", "make_sections"]


def make_sections(evidence: ReportData, made: Callable[[], None] = lambda: None) -> list[ReportSection]:
    """All that there is something to show for; the paper's claims and numbers, which sum them up, come first.

    `made` is called after each.
    """
    found = []
    for make in SECTIONS:
        exhibit = make(evidence)
        found += [exhibit] if exhibit is not None else []
        made()
    bodies = {key: value for exhibit in found for key, value in exhibit.body.items()}
    return [check_claims(evidence, bodies), paper_comparison(evidence, bodies), *found]
