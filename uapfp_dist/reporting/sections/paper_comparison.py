"""Every number that the paper gives, beside ours."""

from collections.abc import Mapping
from typing import Any

from uapfp_dist.reporting import paper
from uapfp_dist.reporting.paper import Measured
from uapfp_dist.reporting.sections.claims import first_bin
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import of_the_paper

PLATEAU, STABLE = 0.97, 0.03
"""What `claims` asks of the gap at 70 points and at 3 confidences: so much of the last one; so near to it."""


def paper_comparison(evidence: ReportData, bodies: Mapping[str, Any]) -> ReportSection:
    """The paper's numbers about these data, from the numbers of the other exhibits."""
    table = paper.paper_comparison(_ours(evidence, bodies), evidence.plan.data.name)
    return ReportSection(
        "beside_paper",
        "The paper's numbers beside ours",
        "Similarities, gaps, shares, AUC and t-test are those of one UAP of the paper's norm on probabilities, over "
        "the test models of all draws; Figure 6 left is that of `uap` at one norm. Intervals are 95 % bootstraps over "
        "models, those of gaps over the models of the two cells that make them. Confidence is what the calibration "
        "models support, 1 - 1 / (m + 1); fooling is measured on held-out images before clipping; the plateau begins "
        f"at the fewest points whose gap is {PLATEAU:g} of the last one, the gap is stable from the fewest confidences "
        f"at which it is within {STABLE:g} of that with all; adversarial training is that with the attacker's own "
        f"labels. A dash: not measured. {evidence.setting}.",
        {"beside_paper": table},
        {},
        {"beside_paper": table.to_dict("records")},
    )


def _ours(evidence: ReportData, bodies: Mapping[str, Any]) -> dict[str, Measured]:
    """Key of the paper's claim to our number."""
    report, alone = evidence.report, ("victim", "piracy", "homologous")
    detail = report["auc_detail"]
    areas = {"auc_uap": detail.get("uap_paper", {}).get("prob"), "auc_ipguard": detail.get("ipguard", {}).get("hard")}
    return {
        "confidence": Measured(1 - 1 / (report["calibration"]["models"] + 1)),
        "n_models": Measured(float(sum(m.role in alone for m in evidence.panelists.members))),
        "fooling": Measured(report["uap"]["fooling_rate"]),
        "fig2b_ratio": _of(bodies.get("subspace"), "ratio_homologous_over_piracy"),
        "recovery": _of(bodies.get("zoo"), "mean_recovery"),
        "fig5_piracy_above_.8": _of(bodies.get("cdf_all"), "piracy_above_.8"),
        "fig5_homologous_above_.4": _of(bodies.get("cdf_all"), "homologous_above_.4"),
        "gap_largest": _of(bodies.get("similarity_gaps"), "largest"),
        "gap_smallest": _of(bodies.get("similarity_gaps"), "smallest"),
        "detected": _of(bodies.get("paper_t_test"), "piracy"),
        **{
            key: Measured(found["homologous"]["mean"], found["homologous"]["low"], found["homologous"]["high"])
            for key, found in areas.items()
            if found is not None
        },
        **_figure_6(bodies),
        **_figure_8(bodies),
    }


def _of(body: Mapping[str, Any] | None, name: str) -> Measured:
    known = body or {}
    return Measured(known.get(name), known.get(f"{name}_low"), known.get(f"{name}_high"))


def _figure_6(bodies: Mapping[str, Any]) -> dict[str, Measured]:
    by_n = {int(n): float(cell["gap"]) for n, cell in bodies.get("n_points", {}).items()}
    by_k = {int(k): float(cell["gap"]) for k, cell in bodies.get("top_k", {}).items() if int(k) > 0}
    plateau = [n for n, gap in by_n.items() if len(by_n) > 1 and gap >= PLATEAU * by_n[max(by_n)]]
    stable = [k for k, gap in by_k.items() if len(by_k) > 1 and abs(gap - by_k[max(by_k)]) <= STABLE]
    return {
        "fig6_plateau": Measured(min(plateau, default=None)),
        "fig6_stable_top_k": Measured(min(stable, default=None)),
        "fig6_gap_top_1": _of(bodies.get("top_k", {}).get("1"), "gap"),
        "fig6_sum_of_top_3": Measured(bodies.get("confidence", {}).get("3")),
        "fig6_similarity_at_.78": _of(first_bin(bodies), "similarity"),
    }


def _figure_8(bodies: Mapping[str, Any]) -> dict[str, Measured]:
    lowest = [
        float(row["lowest_similarity"])
        for row in bodies.get("modifications", [])
        if row["role"] == "piracy" and of_the_paper(row["modification"])
    ]
    stops = {
        int(row["iterations"]): row
        for row in bodies.get("adversarial", [])
        if row["role"] == "piracy" and row["labels"] == "own"
    }
    end = max(stops, default=0)
    lost = stops[0]["accuracy"] - stops[270]["accuracy"] if {0, 270} <= stops.keys() else None
    return {
        "fig8_least_similarity": Measured(min(lowest, default=None)),
        "fig8_similarity_120": _of(stops.get(120), "similarity"),
        "fig8_similarity_end": _of(stops[end] if end > 120 else None, "similarity"),
        "fig8_utility_270": Measured(lost),
    }
