"""The paper's main claims, each beside what was measured and by which rule it counts as reproduced."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from uapfp_dist.fingerprints.methods.registry import twin_name
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.number_format import interval
from uapfp_dist.reporting.paper import DATASETS, paper_number
from uapfp_dist.reporting.recovery_schema import RecoveryBin
from uapfp_dist.reporting.section_schema import ClaimCheck, SectionNumbers, SweepNumbers, TTestRates
from uapfp_dist.reporting.sections.claim_grading import auc_of, graded, not_computed, substituted
from uapfp_dist.reporting.sections.lineage_claims import churn_finds, identifies_victim
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import UNMODIFIED, of_the_paper

FORGOTTEN = 0.1
"""With a larger mean cosine to their start, UAPs hold noise that all models have in common: ratios tend to 1."""
THERE = "neither where the interval of the last one reaches 0"
"""What rules about the size of a gap need first."""
IPGUARD = "ipguard_tuned"
"""The row that stands for IPGuard: its target is reached, its k chosen as every method's setting is."""


def check_claims(data: ReportData, sections: SectionNumbers) -> ReportSection:
    """All claims, from the numbers of the other sections."""
    checks = [*CHECKS, *(SIBLING_CHECKS if data.plan.churn else ())]
    found = [check(data, sections) for check in checks]
    return ReportSection(
        "claims",
        "The paper's claims",
        f"Each by the rule beside it, which is the same for every evaluation. {churn_finds(data)}{data.setting}.",
        {"claims": pd.DataFrame([vars(c) for c in found])},
        {},
        SectionNumbers(claims=tuple(found)),
    )


def _detection(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    method = "uap_paper" if "uap_paper" in table else "uap"
    ours, on_probe = auc_of(table, method, "prob"), auc_of(table, twin_name(method), "prob")
    known = not math.isnan(ours)
    # In the same format: another may be the one that suits them. One encoder stands beside one, several beside several.
    noise = "random_paper" if method == "uap_paper" and "random_paper" in table else "random"
    references = ("clean", noise, "confidence")
    pairs = dict.fromkeys(references, ours) | {twin_name(m): on_probe for m in references}
    as_good = [m for m, than in pairs.items() if known and auc_of(table, m, "prob") >= than - 0.005]
    measured = f"{ours:.3f}" if known else "not measured"
    if not math.isnan(on_probe):
        measured += f", {on_probe:.3f} on images that nothing trained on"
    if as_good:
        measured += f"; as good without any UAP: {', '.join(as_good)}"
    if absent := not_computed(table, "uap_paper", twin_name(method), *references):
        measured += f"; {absent}"
    least = min(ours, on_probe) if not math.isnan(on_probe) else ours
    outcome = graded(least >= 0.98 and not as_good, least >= 0.9) if known else "not measured"
    if outcome == "reproduced" and not_computed(table, twin_name(method), *references):
        outcome = "not measured"  # one of them could do as well, or membership in D_v be all that there is
    return ClaimCheck(
        claim="fingerprints by UAP tell piracy from homologous models",
        paper="AUC 1.0 / 1.0 / .98",
        measured=measured,
        rule="AUC at least .98, on the victim's training images and on images that nothing trained on; partly from "
        ".90, or when clean points, random vectors or plain confidence do as well on probabilities, too",
        outcome=outcome,
    )


def _local(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    ours, rescaled = auc_of(table, "uap_paper", "prob"), auc_of(table, "lap_paper", "prob")
    known = not math.isnan(ours + rescaled)
    where = _norms(data.plan.config.uap.xi_fractions)
    words = [f"AUC {ours:.3f} of one UAP at xi against {rescaled:.3f} of LAP at xi"]
    others = {
        "one random vector at xi": auc_of(table, "random_paper", "prob"),
        "LAP, minimal": auc_of(table, "lap_minimal", "prob"),
        f"UAPs {where}": auc_of(table, "uap", "prob"),
        f"LAP {where}": auc_of(table, "lap", "prob"),
    }
    words += [f"{name}: {area:.3f}" for name, area in others.items() if not math.isnan(area)]
    return ClaimCheck(
        claim="UAP fingerprints separate better than local perturbations (Fig. 7)",
        paper="nearly disjoint CDFs against overlapping ones",
        measured="; ".join(words) if known else not_computed(table, "uap_paper", "lap_paper") or "not measured",
        rule="AUC of one UAP higher than that of LAP of the same norm by at least .05; partly from .01",
        outcome=graded(ours - rescaled >= 0.05, ours - rescaled >= 0.01) if known else "not measured",
    )


def _inconsist(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    found = sections.subspace
    ratio = found.ratio_homologous_over_piracy if found else math.nan
    bounds = (found.ratio_homologous_over_piracy_low, found.ratio_homologous_over_piracy_high) if found else ()
    cosine = found.start_cosine if found else math.nan
    known = not math.isnan(ratio)
    kept = f"a mean cosine of {cosine:.2f}" if not math.isnan(cosine) else "it is not known how much"
    measured = f"{interval(ratio, *bounds)}; of their random start UAPs keep {kept}" if known else "not measured"
    return ClaimCheck(
        claim="Inconsist of homologous models is 3 times that of piracy (Fig. 2b)",
        paper="about 3",
        measured=measured,
        rule=f"2 or more; partly from 1.2; by UAPs whose mean cosine to their random start is below {FORGOTTEN:g}",
        outcome=graded(ratio >= 2, ratio >= 1.2) if known and cosine < FORGOTTEN else "not measured",
    )


def _gap(cell: SweepNumbers) -> str:
    return interval(cell.gap, cell.gap_low, cell.gap_high)


def _is_there(cell: SweepNumbers) -> bool:
    """Whether its interval excludes 0; without one, whether it is above 0."""
    return (cell.gap if math.isnan(cell.gap_low) else cell.gap_low) > 0


def _plateau(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    cells = {int(n): cell for n, cell in (sections.n_points or {}).items()}
    largest = max(cells, default=0)
    at = min((n for n in cells if n >= 0.7 * largest), default=0)
    known = len(cells) > 1 and at < largest
    there = known and _is_there(cells[largest])
    return ClaimCheck(
        claim="the similarity gap has its plateau at 70 of 100 points (Fig. 6 left)",
        paper="70",
        measured=f"gap {_gap(cells[at])} at {at}, {_gap(cells[largest])} at {largest} points"
        if known
        else "not measured",
        rule=f"the gap at 70 % of the points is at least .97 of the last one; partly from .90; {THERE}",
        outcome=graded(
            there and cells[at].gap >= 0.97 * cells[largest].gap, there and cells[at].gap >= 0.9 * cells[largest].gap
        )
        if known
        else "not measured",
    )


def _top_k(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    cells = {int(k): cell for k, cell in (sections.top_k or {}).items()}
    largest = max(cells, default=0)
    known = 3 in cells and largest > 3
    apart = abs(cells[3].gap - cells[largest].gap) if known else 0.0
    there = known and _is_there(cells[largest])
    return ClaimCheck(
        claim="three confidences are as good as all (Fig. 6 left)",
        paper="stable from 3",
        measured=f"gap {_gap(cells[3])} with 3, {_gap(cells[largest])} with all {largest}" if known else "not measured",
        rule=f"the two gaps differ by at most .03; partly up to .10; {THERE}",
        outcome=graded(there and apart <= 0.03, there and apart <= 0.1) if known else "not measured",
    )


def _robust(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    piracy = [row for row in sections.modifications or () if row.role == "piracy"]
    rows = [row for row in piracy if of_the_paper(row.modification)]
    start = [row for row in piracy if row.modification == UNMODIFIED]
    known = bool(rows and start)
    least, which = min(((row.similarity, row.modification) for row in rows), default=(0.0, ""))
    before = start[0].similarity if start else 0.0
    return ClaimCheck(
        claim="fine-tuning, pruning and INT8 leave the similarity high (Fig. 8 left)",
        paper="all above .88",
        measured=f"lowest mean {least:.3f} ({which}; unmodified {before:.3f}){substituted(data.paper_scoring)}"
        if known
        else "not measured",
        rule="of fine-tuning of all layers, pruning without recovery and INT8 every mean at least .88; partly when "
        "none falls by more than .10",
        outcome=graded(least >= 0.88, least >= before - 0.1) if known else "not measured",
    )


def _adversarial(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    rows = [row for row in sections.adversarial or () if row.role == "piracy" and row.iterations == 120]
    words = ", ".join(f"{row.similarity:.3f} ({row.labels} labels, accuracy {row.accuracy:.3f})" for row in rows)
    least = min((row.similarity for row in rows), default=0.0)
    most = max((row.similarity for row in rows), default=0.0)
    return ClaimCheck(
        claim="120 iterations of adversarial training leave the similarity high (Fig. 8 right)",
        paper=".99 up to 120 iterations, .89 after",
        measured=words + substituted(data.paper_scoring) if rows else "not measured",
        rule="at least .85 in every label mode; partly in one",
        outcome=graded(least >= 0.85, most >= 0.85) if rows else "not measured",
    )


def _ipguard(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    ours, labels = auc_of(table, "uap_paper", "prob"), auc_of(table, IPGUARD, "hard")
    probabilities = auc_of(table, IPGUARD, "prob")
    known = not math.isnan(ours + labels)
    theirs = labels if math.isnan(probabilities) else max(labels, probabilities)
    name = data.plan.data.name
    papers = paper_number("auc_ipguard", name).value if name in DATASETS else math.nan
    weak = known and theirs < papers - 0.1
    return ClaimCheck(
        claim="UAP fingerprints beat IPGuard",
        paper="AUC 1.0 / 1.0 / .98 against .83 / .75 / .61",
        measured=f"{ours:.3f} on probabilities against {labels:.3f} of its matching labels"
        + ("" if math.isnan(probabilities) else f", {probabilities:.3f} of probabilities")
        + _points(sections)
        + (f"; the paper's IPGuard has {papers:.2f}" if weak else "")
        if known
        else not_computed(table, "uap_paper", IPGUARD) or "not measured",
        rule="AUC higher than the better of IPGuard's two, each at the k that the training models choose, by at least "
        ".10; partly from .01, or where that is more than .10 below the paper's IPGuard, which was not reproduced then",
        outcome=graded(ours - theirs >= 0.1 and not weak, ours - theirs >= 0.01) if known else "not measured",
    )


def _points(sections: SectionNumbers) -> str:
    """On how many points IPGuard rests at least."""
    rows = [row for row in sections.ipguard or () if row.points_of == "D_v"]
    fewest = min(rows, key=lambda row: row.points, default=None)
    return f", on at least {fewest.points} of {fewest.tried} points" if fewest else ""


def _recovery(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    row = first_bin(sections)
    value = row.similarity if row else 0.0
    return ClaimCheck(
        claim="a substitute with 78 % of the victim's accuracy is already similar (Fig. 6 right)",
        paper=".88 at .78",
        measured=f"{interval(value, row.similarity_low, row.similarity_high)} from .78 to below .80, models: "
        f"{row.models}{substituted(data.paper_scoring)}"
        if row
        else "not measured",
        rule="at least .83; partly from .60",
        outcome=graded(value >= 0.83, value >= 0.6) if row else "not measured",
    )


def _abstract(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    m, power = data.report.calibration.models, data.report.power.conformal
    caught = "not known" if math.isnan(power) else f"{power:.2f}"
    t_test = sections.paper_t_test or TTestRates()
    return ClaimCheck(
        claim="confidence above 99.99 % within 20 fingerprints (abstract)",
        paper="99.99 %",
        measured=f"with {m} calibration models at most {1 - 1 / (m + 1):.2%}; power at alpha {data.alpha:g}: {caught}; "
        f"the t-test behind the claim detects {_percent(t_test.piracy)} of piracy (the paper: all) and accuses "
        f"{_percent(t_test.homologous)} of homologous models" + substituted(data.paper_scoring),
        rule="needs more than 9,999 calibration models; power at an alpha of .0001 is not measured",
        outcome="not reproduced" if m <= 9999 else "not measured",
    )


def first_bin(sections: SectionNumbers) -> RecoveryBin | None:
    """The row of Figure 6 right that holds recovery rates from .78 to below .80."""
    return next((row for row in sections.recovery or () if row.recovery_bin == figures.RECOVERY_EDGES[0]), None)


def _percent(rate: float | None) -> str:
    return "an unknown share" if rate is None else f"{rate:.1%}"


def _norms(fractions: Sequence[float]) -> str:
    """At which norms a row of several stands, in units of the paper's xi, and that its encoders are then averaged."""
    norms = " and ".join(f"{fraction:g}".replace("0.", ".") for fraction in fractions)
    return f"at {norms} xi" + (", averaged" if len(fractions) > 1 else "")


CHECKS: tuple[Callable[[ReportData, SectionNumbers], ClaimCheck], ...] = (
    _detection,
    _local,
    _inconsist,
    _plateau,
    _top_k,
    _recovery,
    _robust,
    _adversarial,
    _ipguard,
    _abstract,
)
SIBLING_CHECKS: tuple[Callable[[ReportData, SectionNumbers], ClaimCheck], ...] = (identifies_victim,)
"""Where there are siblings."""
