"""Claims about lineage: they rest on points of PROBE, which nothing trained on."""

import math

from uapfp_dist.evaluation.judging import CHOSEN
from uapfp_dist.reporting.number_format import interval
from uapfp_dist.reporting.section_schema import ClaimCheck, SectionNumbers
from uapfp_dist.reporting.sections.claim_grading import Outcome, graded, not_computed
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.reporting.trust import MARGIN
from uapfp_dist.statistics.auc import FEWEST_VICTIMS

IDENTIFIES_VICTIM = "UAP fingerprints identify the victim"
"""The claim whose hardest control are models stolen from siblings."""


def identifies_victim(data: ReportData, sections: SectionNumbers) -> ClaimCheck:
    table = data.report.auc_detail
    ours, noise = (table.get(name, {}).get(CHOSEN, {}).get("sibling") for name in ("uap_probe", "random_probe"))
    known = ours is not None and noise is not None and not math.isnan(ours.mean + noise.mean)
    measured = "not computed: piracy of siblings"
    outcome: Outcome = "not measured"
    if absent := not_computed(data.report.auc, "uap_probe", "random_probe"):
        measured = absent
    elif known:
        assert ours is not None
        assert noise is not None
        words = [interval(e.mean, e.low, e.high) for e in (ours, noise)]
        measured = f"AUC against models stolen from siblings: {words[0]} by UAPs, {words[1]} by random vectors"
        if noise.mean >= ours.mean - MARGIN:
            measured += ", which do as well"
        if math.isnan(ours.low):
            measured += f"; no interval, stolen from fewer than {FEWEST_VICTIMS} siblings"
        else:
            outcome = graded(ours.mean >= 0.9 and ours.low > noise.mean, ours.mean > 0.75)
    return ClaimCheck(
        claim=IDENTIFIES_VICTIM,
        paper="AUC 1.0 / 1.0 / .98, against models of other training images",
        measured=measured,
        rule="on points that nothing trained on, against models stolen from siblings: AUC at least .90, its lower "
        "limit above the AUC of random vectors of the same norm; partly from above .75",
        outcome=outcome,
    )


def churn_finds(data: ReportData) -> str:
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
