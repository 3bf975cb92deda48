"""The verdict as a tracker shows it."""

import math
from collections.abc import Sequence

from uapfp_dist.messages import one_line
from uapfp_dist.reporting.number_format import number
from uapfp_dist.tracking.tracker import DESCRIPTION, NAME
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_text import verdict_text

MOST_NAMED = 3
"""Suspects in the name of a run."""


def verification_tags(kit: Kit, cases: Sequence[JudgedSuspect]) -> dict[str, str]:
    """Tags, name and description of the run of a verification, whose suspects are nested runs."""
    names = [one_line(case.verdict.name, 40) for case in cases]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    claims = [
        f"{name}: {case.verdict.claim} (p {number(case.verdict.p_adjusted)})"
        for name, case in zip(names, cases, strict=True)
    ]
    return {
        "job": "verify",
        "preset": "verify",
        NAME: f"verify {', '.join(names[:MOST_NAMED])}{more}",
        "answer": "; ".join(claims)[:500],
        "kit": kit.digest,
        DESCRIPTION: _description(kit, cases),
    }


def _description(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """The text of the verdict, quoted as it is: a suspect chose some of its words."""
    indented = "\n".join(f"    {line}" for line in verdict_text(kit, cases).splitlines())
    return (
        f"**Is it a copy of the victim?**\n\n{indented}\n\nThe evidence on one page: "
        f"[verdict.html](artifact:verdict.html). Transcripts and `verdict.json` lie beside it. Kit: `{kit.digest}`.\n"
    )


def verdict_tags(case: JudgedSuspect) -> dict[str, str]:
    """Tags of a suspect's run."""
    v = case.verdict
    return {
        "job": "verify",
        "claim": v.claim,
        "decided_by": v.decided_by,
        "format": v.format,
        "findings": "; ".join(v.findings)[:4000],
    }


def verdict_metrics(case: JudgedSuspect) -> dict[str, float]:
    """Metrics of a suspect's run; NaN is left out."""
    v = case.verdict
    values = {
        "p_value": v.p_value,
        "p_adjusted": v.p_adjusted,
        "p_value_uap": v.p_value_uap,
        "p_value_weighted_errors": v.p_value_weighted_errors,
        "similarity": v.similarity,
        "weighted_errors": v.weighted_errors,
        "agreement_clean": v.agreement_clean,
        "queries_sent": float(case.ledger.queries),
    }
    if v.churn is not None:
        values |= {"churn": v.churn.score, "churn_agreed": v.churn.agreed / max(v.churn.of, 1)}
    if v.exact is not None:
        values |= {"p_value_exact": v.exact.p_value, "exact_z": v.exact.z}
    return {key: float(value) for key, value in values.items() if math.isfinite(value)}
