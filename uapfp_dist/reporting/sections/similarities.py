"""Similarities of the test fingerprints, over all resamples."""

import numpy as np
import pandas as pd

from uapfp_dist.evaluation.judging import chosen_by
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.response_format import ResponseFormat


def views_by_model(fingerprints: pd.DataFrame) -> list[np.ndarray]:
    """Each model's similarities, of all resamples in which it was tested."""
    return [np.concatenate(views.tolist()) for _, views in fingerprints.groupby("model", sort=False)["views"]]


def similarities_by_architecture(
    data: ReportData, method: str, fmt: ResponseFormat | None
) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to (N,) similarities of all test fingerprints of all resamples, in [-1, 1].

    Args:
        data: the scored resamples.
        method: one with an encoder.
        fmt: of responses; None: the one chosen in each resample.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    members = data.judged.members
    for resample, scored in chosen_by(data.resamples, method, fmt):
        for row in resample.tested(members, "piracy", "homologous"):
            roles = found.setdefault(members[row].spec.architecture, {})
            roles.setdefault(members[row].role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}
