"""The verdict as a few lines of text."""

import math
from collections.abc import Sequence

from uapfp_dist.messages import printable
from uapfp_dist.reporting.number_format import number
from uapfp_dist.verification.judging.verdict import PIRACY
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect


def verdict_text(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """A few lines per suspect."""
    return f"{suspects_text(cases)}\n\nkit {kit.digest}"


def suspects_text(cases: Sequence[JudgedSuspect]) -> str:
    """The same without the kit."""
    return "\n\n".join("\n".join(_lines(case)) for case in cases)


def headline(case: JudgedSuspect) -> str:
    """The claim and its p-value; that the suspect failed the input check and was queried anyway."""
    v = case.verdict
    together = "" if v.p_adjusted == v.p_value else f" (p {number(v.p_adjusted)} among all suspects)"
    learned = ", derived from the victim's answers" if v.churn is not None and v.claim == PIRACY else ""
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


def _lines(case: JudgedSuspect) -> list[str]:
    v = case.verdict
    remarks = [f"  ! {finding}" for finding in findings(case)]
    if case.stopped:
        return [headline(case), f"  queries           {queries(case)}", *remarks]
    lines = [headline(case), *_churn(case), *_other_methods(case)]
    lines += [
        f"  queries           {queries(case)}; format {v.format}",
        f"  agreement         {number(v.agreement_clean)} on clean images",
    ]
    if v.input_check:
        hint = "" if v.claim == PIRACY else "; that does not exclude another mean and std: probe_forms compares forms"
        lines.append(f"  input check       {v.input_check.text}{hint}")
    if power := v.power.get("all"):
        lines.append(
            f"  power of the kit  {power.caught} of {power.of} held-out stolen models caught with these images"
        )
    lines.append(f"  {v.decided_by} decides    {printable(v.decided_because)}")
    if v.register:
        looks = f"{v.register.looks} look{'s' if v.register.looks > 1 else ''}"
        lines.append(f"  register          {looks} with this kit, head {v.register.head[:16]}...")
    if v.not_calibrated_against:
        lines.append(f"  not calibrated against {', '.join(v.not_calibrated_against)}")
    return lines + remarks


def _churn(case: JudgedSuspect) -> list[str]:
    """What it says where the victim departs from its siblings."""
    v = case.verdict
    if (churn := v.churn) is None:
        return []
    where = f"at {churn.agreed} of {churn.of} images where hardly a sibling gives it (set {churn.point_set})"
    return [f"  {v.decided_by:<17} p {number(v.p_value)}, score {number(churn.score)}: the victim's label {where}"]


def _other_methods(case: JudgedSuspect) -> list[str]:
    """UAP fingerprints and errors, where the kit has them; beside churn they claim nothing."""
    v = case.verdict
    if v.churn is not None and math.isnan(v.p_value_uap) and math.isnan(v.p_value_weighted_errors):
        return []
    note = "" if v.churn is None else " (no claim)"
    similarity = f"{number(v.similarity)} +- {number(v.similarity_std)}"
    return [
        f"  uap               p {number(v.p_value_uap)}, similarity {similarity}{note}",
        f"  weighted_errors   p {number(v.p_value_weighted_errors)}, log odds {number(v.weighted_errors)}{note}",
        f"  paper's t-test    p {number(v.p_value_t_test)} (printed, not used)",
    ]
