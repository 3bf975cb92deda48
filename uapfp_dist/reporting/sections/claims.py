"""The paper's main claims, each beside what was measured and by which rule it counts as reproduced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.intervals import said
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import of_the_paper
from uapfp_dist.reporting.sections.similarity import place_of

Outcome = Literal["reproduced", "partly", "not reproduced", "not measured"]


@dataclass(frozen=True)
class ClaimCheck:
    """One claim and its fate."""

    claim: str
    paper: str
    measured: str
    rule: str
    outcome: Outcome


def check_claims(evidence: ReportData, bodies: Mapping[str, Any]) -> ReportSection:
    """All claims, from the numbers of the exhibits before this one."""
    found = [check(evidence, bodies) for check in CHECKS]
    return ReportSection(
        "claims",
        "The paper's claims",
        f"Each by a rule whose thresholds were fixed before the numbers were seen. {evidence.setting}.",
        {"claims": pd.DataFrame([vars(c) for c in found])},
        {},
        {"claims": [vars(c) for c in found]},
    )


def _graded(whole: bool, part: bool) -> Outcome:
    return "reproduced" if whole else "partly" if part else "not reproduced"


def _detection(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    table = evidence.report["auc"]
    ours = table.get("uap_paper", table["uap"]).get("prob", {}).get("homologous")
    references = ("clean", "random", "confidence")  # in the same format: another may be the one that suits them
    as_good = [m for m in references if ours is not None and _auc(table, m, "prob") >= ours - 0.005]
    measured = "not measured" if ours is None else f"{ours:.3f}"
    if as_good:
        measured += f"; as good without any UAP: {', '.join(as_good)}"
    return ClaimCheck(
        "fingerprints by UAP tell piracy from homologous models",
        "AUC 1.0 / 1.0 / .98",
        measured,
        "AUC at least .98; partly from .90, or when clean points, random vectors or plain confidence do as well on "
        "probabilities, too",
        "not measured" if ours is None else _graded(ours >= 0.98 and not as_good, ours >= 0.9),
    )


def _auc(table: Mapping[str, Any], method: str, fmt: str) -> float:
    value = table.get(method, {}).get(fmt, {}).get("homologous")
    return -1.0 if value is None else float(value)


def _local(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    table = evidence.report["auc"]
    ours, rescaled = _auc(table, "uap_paper", "prob"), _auc(table, "lap_paper", "prob")
    known = min(ours, rescaled) >= 0
    where = place_of(evidence.plan.config.uap.xi_fractions)
    words = [f"AUC {ours:.3f} of one UAP at xi against {rescaled:.3f} of LAP at xi"]
    others = {
        "one random vector at xi": _auc(table, "random_paper", "prob"),
        "LAP, minimal": _auc(table, "lap_minimal", "prob"),
        f"UAPs {where}": _auc(table, "uap", "prob"),
        f"LAP {where}": _auc(table, "lap", "prob"),
    }
    words += [f"{name}: {area:.3f}" for name, area in others.items() if area >= 0]
    return ClaimCheck(
        "UAP fingerprints separate better than local perturbations (Fig. 7)",
        "nearly disjoint CDFs against overlapping ones",
        "; ".join(words) if known else "not measured",
        "AUC of one UAP higher than that of LAP of the same norm by at least .05; partly from .01",
        _graded(ours - rescaled >= 0.05, ours - rescaled >= 0.01) if known else "not measured",
    )


def _inconsist(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    name = "ratio_homologous_over_piracy"
    ratio = bodies.get("subspace", {}).get(name)
    return ClaimCheck(
        "Inconsist of homologous models is 3 times that of piracy (Fig. 2b)",
        "about 3",
        "not measured" if ratio is None else said(bodies["subspace"], name),
        "2 or more; partly from 1.2",
        "not measured" if ratio is None else _graded(ratio >= 2, ratio >= 1.2),
    )


def _plateau(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    cells = {int(n): cell for n, cell in bodies.get("n_points", {}).items()}
    gaps = {n: cell["gap"] for n, cell in cells.items()}
    largest = max(gaps, default=0)
    at = min((n for n in gaps if n >= 0.7 * largest), default=0)
    known = len(gaps) > 1 and at < largest
    return ClaimCheck(
        "the similarity gap has its plateau at 70 of 100 points (Fig. 6 left)",
        "70",
        f"gap {said(cells[at], 'gap')} at {at}, {said(cells[largest], 'gap')} at {largest} points"
        if known
        else "not measured",
        "the gap at 70 % of the points is at least .97 of the last one; partly from .90",
        _graded(gaps[at] >= 0.97 * gaps[largest], gaps[at] >= 0.9 * gaps[largest]) if known else "not measured",
    )


def _top_k(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    cells = {int(k): cell for k, cell in bodies.get("top_k", {}).items()}
    gaps = {k: cell["gap"] for k, cell in cells.items()}
    largest = max(gaps, default=0)
    known = 3 in gaps and largest > 3
    apart = abs(gaps[3] - gaps[largest]) if known else 0.0
    return ClaimCheck(
        "three confidences are as good as all (Fig. 6 left)",
        "stable from 3",
        f"gap {said(cells[3], 'gap')} with 3, {said(cells[largest], 'gap')} with all {largest}"
        if known
        else "not measured",
        "the two gaps differ by at most .03; partly up to .10",
        _graded(apart <= 0.03, apart <= 0.1) if known else "not measured",
    )


def _robust(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    rows = [
        r for r in bodies.get("modifications", [])
        if r["role"] == "piracy" and of_the_paper(r["modification"])
    ]  # fmt: skip
    start = [r for r in bodies.get("modifications", []) if r["role"] == "piracy" and r["modification"] == "unmodified"]
    known = bool(rows and start)
    least, which = min(((float(r["similarity"]), r["modification"]) for r in rows), default=(0.0, ""))
    before = start[0]["similarity"] if start else 0.0
    return ClaimCheck(
        "fine-tuning, pruning and INT8 leave the similarity high (Fig. 8 left)",
        "all above .88",
        f"lowest mean {least:.3f} ({which}; unmodified {before:.3f})" if known else "not measured",
        "of fine-tuning of all layers, pruning without recovery and INT8 every mean at least .88; partly when none "
        "falls by more than .10",
        _graded(least >= 0.88, least >= before - 0.1) if known else "not measured",
    )


def _adversarial(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    rows = [r for r in bodies.get("adversarial", []) if r["role"] == "piracy"]
    at_120 = [r for r in rows if r["iterations"] == 120]
    known = bool(at_120)
    words = ", ".join(f"{r['similarity']:.3f} ({r['labels']} labels, accuracy {r['accuracy']:.3f})" for r in at_120)
    least = min((r["similarity"] for r in at_120), default=0.0)
    most = max((r["similarity"] for r in at_120), default=0.0)
    return ClaimCheck(
        "120 iterations of adversarial training leave the similarity high (Fig. 8 right)",
        ".99 up to 120 iterations, .89 after",
        words if known else "not measured",
        "at least .85 in every label mode; partly in one",
        _graded(least >= 0.85, most >= 0.85) if known else "not measured",
    )


def _ipguard(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    table = evidence.report["auc"]
    ours, labels = _auc(table, "uap_paper", "prob"), _auc(table, "ipguard", "hard")
    probabilities = _auc(table, "ipguard", "prob")
    known, theirs = min(ours, labels) >= 0, max(labels, probabilities)
    return ClaimCheck(
        "UAP fingerprints beat IPGuard",
        "AUC 1.0 / 1.0 / .98 against .83 / .75 / .61",
        f"{ours:.3f} on probabilities against {labels:.3f} of its matching labels, {probabilities:.3f} of probabilities"
        if known
        else "not measured",
        "AUC higher than the better of IPGuard's two by at least .10; partly from .01",
        _graded(ours - theirs >= 0.1, ours - theirs >= 0.01) if known else "not measured",
    )


def _recovery(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    row = first_bin(bodies)
    known = row is not None
    value = row["similarity"] if row is not None else 0.0
    return ClaimCheck(
        "a substitute with 78 % of the victim's accuracy is already similar (Fig. 6 right)",
        ".88 at .78",
        "not measured" if row is None else f"{said(row, 'similarity')} from .78 to below .80, models: {row['models']}",
        "at least .83; partly from .60",
        _graded(value >= 0.83, value >= 0.6) if known else "not measured",
    )


def _abstract(evidence: ReportData, bodies: Mapping[str, Any]) -> ClaimCheck:
    m = evidence.report["calibration"]["models"]
    power = evidence.report["power"]["conformal"]
    caught = "not known" if power is None else f"{power:.2f}"
    t_test = bodies.get("paper_t_test", {})
    return ClaimCheck(
        "confidence above 99.99 % within 20 fingerprints (abstract)",
        "99.99 %",
        f"with {m} calibration models at most {1 - 1 / (m + 1):.2%}; power at alpha {evidence.alpha:g}: {caught}; the "
        f"t-test behind the claim detects {_percent(t_test.get('piracy'))} of piracy (the paper: all) and accuses "
        f"{_percent(t_test.get('homologous'))} of innocent homologous models",
        "needs at least 9,999 calibration models",
        _graded(m >= 9999, False),
    )


def first_bin(bodies: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row of Figure 6 right that holds recovery rates from .78 to below .80."""
    return next((row for row in bodies.get("recovery", []) if row["recovery_bin"] == figures.RECOVERY_EDGES[0]), None)


def _percent(rate: float | None) -> str:
    return "an unknown share" if rate is None else f"{rate:.1%}"


CHECKS: tuple[Callable[[ReportData, Mapping[str, Any]], ClaimCheck], ...] = (
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
