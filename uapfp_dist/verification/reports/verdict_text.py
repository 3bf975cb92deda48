"""The verdict as a few lines of text."""

import math
from collections.abc import Sequence

from uapfp_dist.messages import printable
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.reporting.number_format import number
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.judging.verdict import PIRACY
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import corrected_for, few_siblings
from uapfp_dist.verification.replay import JudgedSuspect

NOT_ASKED = "not run: its images were not among those sent, or not answered"


def verdict_text(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """A few lines per suspect."""
    return "\n\n".join("\n".join(_lines(kit, case)) for case in cases)


def headline(case: JudgedSuspect) -> str:
    """The claim and its p-value; that the suspect failed the input check and was queried anyway."""
    v = case.verdict
    among = "among all suspects" if v.n_corrected is None else f"corrected for {v.n_corrected} suspects"
    together = "" if v.p_adjusted == v.p_value else f" (p {number(v.p_adjusted)} {among})"
    learned = ", derived from the victim or its answers" if v.churn is not None and v.claim == PIRACY else ""
    by = f"p {number(v.p_value)}{together} by {v.decided_by}, alpha {v.alpha:g}"
    claim = f"{printable(v.name)}: {v.claim}{learned}. {by}."
    if v.input_check is None or v.input_check.passed:
        return claim
    return f"{claim} QUERIED ANYWAY: another form of input, or a model weaker than the kit's; it {v.input_check.text}."


def findings(case: JudgedSuspect) -> list[str]:
    """They quote a suspect."""
    return [printable(finding) for finding in case.verdict.findings]


def queries(case: JudgedSuspect) -> str:
    """Images sent and answered."""
    if case.stopped:
        return f"{case.ledger.queries} images sent, {len(case.ledger.responses)} answered and kept, none judged"
    return f"{case.ledger.queries} images sent, {case.verdict.queries} answered"


def _lines(kit: Kit, case: JudgedSuspect) -> list[str]:
    facts = [f"  {name:<17} {value}" for name, value in (details(kit, case) | not_covered(case)).items()]
    return [headline(case), *facts, *(f"  ! {finding}" for finding in findings(case))]


def details(kit: Kit, case: JudgedSuspect) -> dict[str, str]:
    """Name to value: what the verdict rests on."""
    v = case.verdict
    if case.stopped:
        return {"queries": queries(case)}
    found = _exact(case) | _churn(kit, case) | _other_methods(case)
    found["queries"] = f"{queries(case)}; format {ResponseFormat.parse(v.format)}"
    found["agreement"] = f"{number(v.agreement_clean)} on clean images"
    if v.input_check:
        hint = "" if v.claim == PIRACY else "; another mean and std is not excluded: --probe-forms compares forms"
        found["input check"] = f"{v.input_check.text}{hint}"
    if power := v.power.get("all"):
        caught = f"{power.caught} of {power.of} held-out stolen models caught with these images"
        found["power of the kit"] = f"{caught}{corrected_for(v.n_corrected or 1)}"
    found[f"{v.decided_by} decides"] = printable(v.decided_because)
    if v.register:
        looks = f"{v.register.looks} look{'s' if v.register.looks > 1 else ''}"
        found["register"] = f"{looks} with this kit, head before the result {v.register.head[:16]}..."
    return found


def not_covered(case: JudgedSuspect) -> dict[str, str]:
    """Name to value: negatives that the verdict says nothing of, which its limits name too."""
    v, found = case.verdict, dict[str, str]()
    if case.stopped:
        return found
    if absent := [GROUPS.get(g, g) for g in v.not_calibrated_against if g not in v.calibration]:
        found["not calibrated"] = f"against {', '.join(absent)}"
    if few := [GROUPS.get(g, g) for g in v.not_calibrated_against if g in v.calibration]:
        found["too few models"] = f"to decide at alpha {v.alpha:g}: {', '.join(few)}"
    return found


def _churn(kit: Kit, case: JudgedSuspect) -> dict[str, str]:
    """What it says where the victim disagrees with its siblings."""
    v = case.verdict
    if (churn := v.churn) is None:
        return {}
    where = f"at {churn.agreed} of {churn.of} images where {few_siblings(kit)} give it (set {churn.point_set})"
    note = "" if v.conformal is None else " (no claim)"
    said = f"p {number(v.conformal_p)}, score {number(churn.score)}: the victim's label {where}{note}"
    return {v.conformal_method: said}


def _exact(case: JudgedSuspect) -> dict[str, str]:
    """Where the exact test ranks the victim."""
    v = case.verdict
    if (exact := v.exact) is None:
        return {}
    note = " (no claim)" if v.conformal is None else ""
    return {
        "sibling_test": f"p {number(exact.p_value)}: {exact.at_least_as_high} of {exact.siblings} siblings are as high "
        f"as the victim, z {number(exact.z)}, {exact.answered} images{note}"
    }


def _other_methods(case: JudgedSuspect) -> dict[str, str]:
    """UAP fingerprints and errors, where the kit has them; beside churn they claim nothing."""
    v = case.verdict
    if v.churn is not None and math.isnan(v.p_value_uap) and math.isnan(v.p_value_weighted_errors):
        return {}
    note = "" if v.churn is None else " (no claim)"
    uap = f"p {number(v.p_value_uap)}, similarity {number(v.similarity)} +- {number(v.similarity_std)}{note}"
    errors = f"p {number(v.p_value_weighted_errors)}, log odds {number(v.weighted_errors)}{note}"
    t_test = f"p {number(v.p_value_t_test)} (printed, not used)"
    return {
        "uap": NOT_ASKED if math.isnan(v.similarity) else uap,
        "weighted_errors": NOT_ASKED if math.isnan(v.weighted_errors) else errors,
        "paper's t-test": NOT_ASKED if math.isnan(v.p_value_t_test) else t_test,
    }
