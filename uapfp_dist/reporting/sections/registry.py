"""Every section of a report.

To add a table or figure: a function from ReportData to a ReportSection (a figure's drawing in `reporting.figures`), a
line in SECTIONS, and for its numbers in the report's JSON an optional field in `reporting.section_schema`, after which
`report.schema.json` is written again (`tests/unit/test_report_schema.py` says how). Names of tables and figures are
unique; where a section has several figures, each has a line in `reporting.rendering.CAPTIONS`. Finished evaluations
show the new section once `VERSION` in `tracking.publication` is raised.
"""

from collections.abc import Callable

from uapfp_dist.reporting.section_schema import joined
from uapfp_dist.reporting.sections import (
    churn,
    controls,
    exact,
    groups,
    ipguard,
    methods,
    overlap,
    recovery,
    recovery_methods,
    removal,
    robustness,
    roc,
    similarity_cdf,
    similarity_tables,
    subspace,
    sweeps,
    tsne,
    uap,
    uap_vs_lap,
    zoo,
)
from uapfp_dist.reporting.sections.answer import answer_section
from uapfp_dist.reporting.sections.claims import check_claims
from uapfp_dist.reporting.sections.paper_comparison import paper_comparison
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection

SECTIONS: tuple[Callable[[ReportData], ReportSection | None], ...] = (
    groups.groups,
    methods.methods,
    controls.controls,
    churn.churn,
    exact.exact,
    ipguard.ipguard,
    roc.roc,
    zoo.zoo,
    subspace.subspaces,
    tsne.tsne,
    similarity_tables.tables_2_3,
    similarity_cdf.cdfs,
    sweeps.n_points,
    sweeps.top_k,
    recovery.recovery,
    recovery_methods.recovery_methods,
    uap_vs_lap.uap_vs_lap,
    robustness.modifications,
    robustness.adversarial,
    removal.removal,
    overlap.overlap,
    sweeps.n_views,
    sweeps.losses,
    sweeps.view_algorithms,
    sweeps.one_architecture,
    uap.uap,
)
"""In the order of the report; one that has nothing to show gives None."""


def make_sections(data: ReportData, on_progress: Callable[[], None]) -> list[ReportSection]:
    """All that have something to show: the answer, the paper's claims and numbers, which sum them up, and the rest.

    `on_progress` is called after each.
    """
    found = []
    for make in SECTIONS:
        section = make(data)
        found += [section] if section is not None else []
        on_progress()
    numbers = joined(section.numbers for section in found)
    return [answer_section(data), check_claims(data, numbers), paper_comparison(data, numbers), *found]
