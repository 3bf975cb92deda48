"""Which methods say what of a suspect, as tables of a page."""

import math
from collections.abc import Mapping

import pandas as pd

from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.statistics.conformal import conformal_p
from uapfp_dist.verification.judging.verdict import SuspectVerdict
from uapfp_dist.verification.reports.group_words import ROLES

BESIDE = "beside it, without a claim"


def own_score(verdict: SuspectVerdict) -> float:
    """The suspect's, by the method that decides."""
    if verdict.churn is not None:
        return verdict.churn.score
    return verdict.similarity if verdict.conformal_method == "uap" else verdict.weighted_errors


def methods_tables(verdict: SuspectVerdict) -> Mapping[str, pd.DataFrame]:
    """Caption to table."""
    if verdict.churn is not None:
        return _by_churn(verdict)
    methods = pd.DataFrame(
        {
            "method": ["uap", "weighted_errors"],
            "decides": [verdict.decided_by == "uap", verdict.decided_by == "weighted_errors"],
            "score": [verdict.similarity, verdict.weighted_errors],
            "conformal p": [verdict.p_value_uap, verdict.p_value_weighted_errors],
        }
    )
    return {"Both methods; which one decides was fixed at enrolment": methods}


def _by_churn(verdict: SuspectVerdict) -> Mapping[str, pd.DataFrame]:
    rows: list[tuple[str, str, float, float]] = [
        (
            verdict.conformal_method,
            "decides, by design" if verdict.conformal is None else BESIDE,
            own_score(verdict),
            verdict.conformal_p,
        )
    ]
    if (exact := verdict.exact) is not None:
        does = BESIDE if verdict.conformal is None else "decides, as enrolled"
        rows.insert(0, ("sibling_test (exact; score: z)", does, exact.z, exact.p_value))
    if not math.isnan(verdict.p_value_uap) or not math.isnan(verdict.p_value_weighted_errors):
        rows.append(("uap", BESIDE, verdict.similarity, verdict.p_value_uap))
        rows.append(("weighted_errors", BESIDE, verdict.weighted_errors, verdict.p_value_weighted_errors))
    methods = pd.DataFrame(rows, columns=["method", "what it does", "score", "p"])
    own = own_score(verdict)
    groups = []
    for group in ROLES:
        if group != "piracy" and (scores := verdict.scores.get(group)):
            higher = sum(not score < own for score in scores)
            groups.append((GROUPS[group], higher, len(scores), conformal_p(own, scores)))
    negatives = pd.DataFrame(groups, columns=["negatives", "score at least as high", "of", "conformal p"])
    return {
        "Methods; the one that decides was fixed at enrolment": methods,
        "Models that are certainly not derived from the victim, against the suspect; the largest p counts": negatives,
    }
