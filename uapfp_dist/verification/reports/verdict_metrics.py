"""The verdict as a tracker shows it."""

import math

from uapfp_dist.verification.replay import JudgedSuspect


def verdict_tags(case: JudgedSuspect) -> dict[str, str]:
    """Tags of a suspect's run."""
    v = case.verdict
    return {"claim": v.claim, "decided_by": v.decided_by, "format": v.format, "findings": "; ".join(v.findings)[:4000]}


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
    return {key: float(value) for key, value in values.items() if math.isfinite(value)}
