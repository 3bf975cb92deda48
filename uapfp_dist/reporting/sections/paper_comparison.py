"""Every number that the paper gives, beside ours."""

from uapfp_dist.reporting import paper
from uapfp_dist.reporting.paper import Measured
from uapfp_dist.reporting.section_schema import PaperComparison, SectionNumbers, rows_of
from uapfp_dist.reporting.sections.claims import IPGUARD, first_bin
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import of_the_paper
from uapfp_dist.response_format import LABEL, PROBABILITIES

PLATEAU, STABLE = 0.97, 0.03
"""What `claims` asks of the gap at 70 points and at 3 confidences: so much of the last one; so near to it."""


def paper_comparison(data: ReportData, sections: SectionNumbers) -> ReportSection:
    """The paper's numbers about these data, from the numbers of the other sections."""
    table = paper.paper_comparison(_ours(data, sections), data.plan.data.name)
    return ReportSection(
        "beside_paper",
        "The paper's numbers beside ours",
        f"Similarities, gaps, shares and t-test are by {data.paper_scoring.words}, AUC is that of one UAP of the "
        "paper's norm on probabilities, over the test models of all resamples; Figure 6 left is that of `uap` at one "
        "norm. Intervals are 95 % bootstraps "
        "over models, those of gaps over the models of the two cells that make them. Confidence is what the "
        "calibration models support, 1 - 1 / (m + 1); fooling is measured on held-out images before clipping; the "
        f"plateau begins at the fewest points whose gap is {PLATEAU:g} of the last one, the gap is stable from the "
        f"fewest confidences at which it is within {STABLE:g} of that with all; adversarial training is that with the "
        f"attacker's own labels. A dash: not measured. {data.setting}.",
        {"beside_paper": table},
        {},
        SectionNumbers(beside_paper=rows_of(PaperComparison, table)),
    )


def _ours(data: ReportData, sections: SectionNumbers) -> dict[str, Measured]:
    """Key of the paper's claim to our number."""
    report, alone = data.report, ("victim", "piracy", "homologous")
    ours = {
        "confidence": Measured(1 - 1 / (report.calibration.models + 1)),
        "n_models": Measured(float(sum(m.role in alone for m in data.judged.members))),
        "fooling": Measured(report.uap.fooling_rate),
        **_figure_6(sections),
        **_figure_8(sections),
    }
    for key, method, fmt in (("auc_uap", "uap_paper", PROBABILITIES), ("auc_ipguard", IPGUARD, LABEL)):
        if groups := report.auc_detail.get(method, {}).get(fmt.wire):
            area = groups["homologous"]
            ours[key] = Measured(area.mean, area.low, area.high)
    if subspace := sections.subspace:
        ours["fig2b_ratio"] = Measured(
            subspace.ratio_homologous_over_piracy,
            subspace.ratio_homologous_over_piracy_low,
            subspace.ratio_homologous_over_piracy_high,
        )
    if zoo := sections.zoo:
        ours["recovery"] = Measured(zoo.mean_recovery, zoo.mean_recovery_low, zoo.mean_recovery_high)
    if shares := sections.cdf_all:
        ours["fig5_piracy_above_.8"] = Measured(shares.piracy, shares.piracy_low, shares.piracy_high)
        ours["fig5_homologous_above_.4"] = Measured(shares.homologous, shares.homologous_low, shares.homologous_high)
    if gaps := sections.similarity_gaps:
        ours["gap_largest"] = Measured(gaps.largest, gaps.largest_low, gaps.largest_high)
        ours["gap_smallest"] = Measured(gaps.smallest, gaps.smallest_low, gaps.smallest_high)
    if rates := sections.paper_t_test:
        ours["detected"] = Measured(rates.piracy, rates.piracy_low, rates.piracy_high)
    return ours


def _figure_6(sections: SectionNumbers) -> dict[str, Measured]:
    by_n = {int(n): cell.gap for n, cell in (sections.n_points or {}).items()}
    by_k = {int(k): cell.gap for k, cell in (sections.top_k or {}).items() if int(k) > 0}
    # Where there is no gap, it has no plateau.
    plateau = [n for n, gap in by_n.items() if len(by_n) > 1 and gap >= PLATEAU * by_n[max(by_n)] > 0]
    stable = [k for k, gap in by_k.items() if len(by_k) > 1 and abs(gap - by_k[max(by_k)]) <= STABLE and gap > 0]
    found = {
        "fig6_plateau": Measured(min(plateau, default=None)),
        "fig6_stable_top_k": Measured(min(stable, default=None)),
        "fig6_sum_of_top_3": Measured((sections.confidence or {}).get("3")),
    }
    if top_1 := (sections.top_k or {}).get("1"):
        found["fig6_gap_top_1"] = Measured(top_1.gap, top_1.gap_low, top_1.gap_high)
    if row := first_bin(sections):
        found["fig6_similarity_at_.78"] = Measured(row.similarity, row.similarity_low, row.similarity_high)
    return found


def _figure_8(sections: SectionNumbers) -> dict[str, Measured]:
    lowest = [
        row.lowest_similarity
        for row in sections.modifications or ()
        if row.role == "piracy" and of_the_paper(row.modification)
    ]
    stops = {row.iterations: row for row in sections.adversarial or () if row.role == "piracy" and row.labels == "own"}
    found = {"fig8_least_similarity": Measured(min(lowest, default=None))}
    end = max(stops, default=0)
    for key, at in (("fig8_similarity_120", 120), ("fig8_similarity_end", end if end > 120 else -1)):
        if stop := stops.get(at):
            found[key] = Measured(stop.similarity, stop.similarity_low, stop.similarity_high)
    if {0, 270} <= stops.keys():
        found["fig8_utility_270"] = Measured(stops[0].accuracy - stops[270].accuracy)
    return found
