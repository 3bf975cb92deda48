"""Similarities of the test fingerprints, over all resamples."""

import numpy as np
import pandas as pd

from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.response_format import PROBABILITIES


def views_by_model(fingerprints: pd.DataFrame) -> list[np.ndarray]:
    """Each model's similarities, of all resamples in which it was tested."""
    return [np.concatenate(views.tolist()) for _, views in fingerprints.groupby("model", sort=False)["views"]]


def similarities_by_architecture(data: ReportData, method: str) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to similarities of all test fingerprints of all resamples.

    By probabilities; where suspects give none, in the format that was chosen.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    members = data.judged.members
    for d in data.resamples:
        scored = d.chosen(method, PROBABILITIES) or d.chosen(method)
        if scored is None:
            continue
        for row in d.resample.tested(members, "piracy", "homologous"):
            roles = found.setdefault(members[row].spec.architecture, {})
            roles.setdefault(members[row].role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}
