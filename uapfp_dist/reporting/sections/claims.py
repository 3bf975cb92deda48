"""The paper's main claims, each beside what was measured and by which rule it counts as reproduced."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import pandas as pd

from uapfp_dist.evaluation.judging import CHOSEN
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.number_format import interval
from uapfp_dist.reporting.report_schema import AucTable
from uapfp_dist.reporting.section_schema import ClaimCheck, RecoveryBin, SectionNumbers, SweepNumbers, TTestRates
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import UNMODIFIED, of_the_paper

Outcome = Literal["reproduced", "partly", "not reproduced", "not measured"]
IDENTIFIES_VICTIM = "UAP fingerprints identify the victim"
"""The claim whose hardest control are models stolen from siblings."""


def check_claims(data: ReportData, sections: SectionNumbers) -> ReportSection:
    """All claims, from the numbers of the other sections."""
    checks = [*CHECKS, *(SIBLING_CHECKS if data.plan.churn else ())]
    found = [check(data, sections) for check in checks]
    return ReportSection(
        "claims",
        "The paper's claims",
        f"Each by a rule whose thresholds were fixed before the numbers were seen. {_churn_finds(data)}{data.setting}.",
        {"claims": pd.DataFrame([vars(c) for c in found])},
        {},
        SectionNumbers(claims=tuple(found)),
    )


def _graded(whole: bool, part: bool) -> Outcome:
    return "reproduced" if whole else "partly" if part else "not reproduced"


def _detection(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    ours = _auc(table, "uap_paper" if "uap_paper" in table else "uap", "prob")
    known = not math.isnan(ours)
    references = ("clean", "random", "confidence")  # in the same format: another may be the one that suits them
    as_good = [m for m in references if known and _auc(table, m, "prob") >= ours - 0.005]
    measured = f"{ours:.3f}" if known else "not measured"
    if as_good:
        measured += f"; as good without any UAP: {', '.join(as_good)}"
    if absent := _not_computed(table, "uap_paper", *references):
        measured += f"; {absent}"
    outcome = _graded(ours >= 0.98 and not as_good, ours >= 0.9) if known else "not measured"
    if outcome == "reproduced" and _not_computed(table, *references):
        outcome = "not measured"  # one of them could do as well
    return ClaimCheck(
        claim="fingerprints by UAP tell piracy from homologous models",
        paper="AUC 1.0 / 1.0 / .98",
        measured=measured,
        rule="AUC at least .98; partly from .90, or when clean points, random vectors or plain confidence do as well "
        "on probabilities, too",
        outcome=outcome,
    )


def _not_computed(table: AucTable, *methods: str) -> str:
    """Which methods the evaluation did not compare, in words; nothing where it compared them all."""
    absent = [method for method in methods if method not in table]
    return f"not computed: {', '.join(absent)}" if absent else ""


def _auc(table: AucTable, method: str, fmt: str) -> float:
    """Against homologous models; NaN where it was not measured."""
    return table.get(method, {}).get(fmt, {}).get("homologous", math.nan)


def _local(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    ours, rescaled = _auc(table, "uap_paper", "prob"), _auc(table, "lap_paper", "prob")
    known = not math.isnan(ours + rescaled)
    where = _norms(data.plan.config.uap.xi_fractions)
    words = [f"AUC {ours:.3f} of one UAP at xi against {rescaled:.3f} of LAP at xi"]
    others = {
        "one random vector at xi": _auc(table, "random_paper", "prob"),
        "LAP, minimal": _auc(table, "lap_minimal", "prob"),
        f"UAPs {where}": _auc(table, "uap", "prob"),
        f"LAP {where}": _auc(table, "lap", "prob"),
    }
    words += [f"{name}: {area:.3f}" for name, area in others.items() if not math.isnan(area)]
    return ClaimCheck(
        claim="UAP fingerprints separate better than local perturbations (Fig. 7)",
        paper="nearly disjoint CDFs against overlapping ones",
        measured="; ".join(words) if known else _not_computed(table, "uap_paper", "lap_paper") or "not measured",
        rule="AUC of one UAP higher than that of LAP of the same norm by at least .05; partly from .01",
        outcome=_graded(ours - rescaled >= 0.05, ours - rescaled >= 0.01) if known else "not measured",
    )


def _inconsist(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    found = sections.subspace
    ratio = found.ratio_homologous_over_piracy if found else math.nan
    bounds = (found.ratio_homologous_over_piracy_low, found.ratio_homologous_over_piracy_high) if found else ()
    known = not math.isnan(ratio)
    return ClaimCheck(
        claim="Inconsist of homologous models is 3 times that of piracy (Fig. 2b)",
        paper="about 3",
        measured=interval(ratio, *bounds) if known else "not measured",
        rule="2 or more; partly from 1.2",
        outcome=_graded(ratio >= 2, ratio >= 1.2) if known else "not measured",
    )


def _gap(cell: SweepNumbers) -> str:
    return interval(cell.gap, cell.gap_low, cell.gap_high)


def _plateau(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    cells = {int(n): cell for n, cell in (sections.n_points or {}).items()}
    largest = max(cells, default=0)
    at = min((n for n in cells if n >= 0.7 * largest), default=0)
    known = len(cells) > 1 and at < largest
    return ClaimCheck(
        claim="the similarity gap has its plateau at 70 of 100 points (Fig. 6 left)",
        paper="70",
        measured=f"gap {_gap(cells[at])} at {at}, {_gap(cells[largest])} at {largest} points"
        if known
        else "not measured",
        rule="the gap at 70 % of the points is at least .97 of the last one; partly from .90",
        outcome=_graded(cells[at].gap >= 0.97 * cells[largest].gap, cells[at].gap >= 0.9 * cells[largest].gap)
        if known
        else "not measured",
    )


def _top_k(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    cells = {int(k): cell for k, cell in (sections.top_k or {}).items()}
    largest = max(cells, default=0)
    known = 3 in cells and largest > 3
    apart = abs(cells[3].gap - cells[largest].gap) if known else 0.0
    return ClaimCheck(
        claim="three confidences are as good as all (Fig. 6 left)",
        paper="stable from 3",
        measured=f"gap {_gap(cells[3])} with 3, {_gap(cells[largest])} with all {largest}" if known else "not measured",
        rule="the two gaps differ by at most .03; partly up to .10",
        outcome=_graded(apart <= 0.03, apart <= 0.1) if known else "not measured",
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
        measured=f"lowest mean {least:.3f} ({which}; unmodified {before:.3f})" if known else "not measured",
        rule="of fine-tuning of all layers, pruning without recovery and INT8 every mean at least .88; partly when "
        "none falls by more than .10",
        outcome=_graded(least >= 0.88, least >= before - 0.1) if known else "not measured",
    )


def _adversarial(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    rows = [row for row in sections.adversarial or () if row.role == "piracy" and row.iterations == 120]
    words = ", ".join(f"{row.similarity:.3f} ({row.labels} labels, accuracy {row.accuracy:.3f})" for row in rows)
    least = min((row.similarity for row in rows), default=0.0)
    most = max((row.similarity for row in rows), default=0.0)
    return ClaimCheck(
        claim="120 iterations of adversarial training leave the similarity high (Fig. 8 right)",
        paper=".99 up to 120 iterations, .89 after",
        measured=words if rows else "not measured",
        rule="at least .85 in every label mode; partly in one",
        outcome=_graded(least >= 0.85, most >= 0.85) if rows else "not measured",
    )


def _ipguard(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc
    ours, labels = _auc(table, "uap_paper", "prob"), _auc(table, "ipguard", "hard")
    probabilities = _auc(table, "ipguard", "prob")
    known = not math.isnan(ours + labels)
    theirs = labels if math.isnan(probabilities) else max(labels, probabilities)
    return ClaimCheck(
        claim="UAP fingerprints beat IPGuard",
        paper="AUC 1.0 / 1.0 / .98 against .83 / .75 / .61",
        measured=f"{ours:.3f} on probabilities against {labels:.3f} of its matching labels, {probabilities:.3f} of "
        "probabilities"
        if known
        else _not_computed(table, "uap_paper", "ipguard") or "not measured",
        rule="AUC higher than the better of IPGuard's two by at least .10; partly from .01",
        outcome=_graded(ours - theirs >= 0.1, ours - theirs >= 0.01) if known else "not measured",
    )


def _recovery(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    row = first_bin(sections)
    value = row.similarity if row else 0.0
    return ClaimCheck(
        claim="a substitute with 78 % of the victim's accuracy is already similar (Fig. 6 right)",
        paper=".88 at .78",
        measured=f"{interval(value, row.similarity_low, row.similarity_high)} from .78 to below .80, models: "
        f"{row.models}"
        if row
        else "not measured",
        rule="at least .83; partly from .60",
        outcome=_graded(value >= 0.83, value >= 0.6) if row else "not measured",
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
        f"{_percent(t_test.homologous)} of innocent homologous models",
        rule="needs at least 9,999 calibration models",
        outcome=_graded(m >= 9999, False),
    )


def _identify(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc_detail
    ours, noise = (table.get(name, {}).get(CHOSEN, {}).get("sibling") for name in ("uap_probe", "random_probe"))
    known = ours is not None and noise is not None and not math.isnan(ours.mean + ours.low + noise.mean)
    measured = "not computed: piracy of siblings"
    outcome: Outcome = "not measured"
    if absent := _not_computed(data.report.auc, "uap_probe", "random_probe"):
        measured = absent
    elif known:
        assert ours is not None
        assert noise is not None
        words = [interval(e.mean, e.low, e.high) for e in (ours, noise)]
        measured = f"AUC against models stolen from siblings: {words[0]} by UAPs, {words[1]} by random vectors"
        outcome = _graded(ours.mean >= 0.9 and ours.low > noise.mean, ours.mean > 0.75)
    return ClaimCheck(
        claim=IDENTIFIES_VICTIM,
        paper="AUC 1.0 / 1.0 / .98, against models of other training images",
        measured=measured,
        rule="on points that nothing trained on, against models stolen from siblings: AUC at least .90, its lower "
        "limit above the AUC of random vectors of the same norm; partly from above .75",
        outcome=outcome,
    )


def _churn_finds(data: ReportData) -> str:
    """What labels on churn points find, which the paper has not; a sentence, or nothing without siblings."""
    found = {
        name: e
        for name in ("churn", "weighted_churn")
        if (e := data.report.auc_detail.get(name, {}).get(CHOSEN, {}).get("sibling")) is not None
    }
    if not found:
        return ""
    words = ", ".join(f"`{name}` {interval(e.mean, e.low, e.high)}" for name, e in found.items())
    return f"No claim of the paper: AUC against models stolen from siblings by labels on churn points: {words}. "


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
SIBLING_CHECKS: tuple[Callable[[ReportData, SectionNumbers], ClaimCheck], ...] = (_identify,)
"""Where there are siblings."""
