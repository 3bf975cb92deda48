"""How often a kit accuses models that neither trained nor calibrated it: power, and false accusation."""

from typing import Any

import torch

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_rates import accusation_counts
from uapfp_dist.verification.scoring import model_scores
from uapfp_dist.verification.verdict import METHODS


def measured(kit: Kit, max_queries: int | None = None) -> dict[ResponseFormat, dict[str, Any]]:
    """Format to `decided_by`, `queries`, and for each method the tables `power` and `false_accusations`.

    Every held-out model is judged alone, on the images that a suspect would be sent within `max_queries`.

    Raises:
        UserError: fewer images than the kit can use.
    """
    found: dict[ResponseFormat, dict[str, Any]] = {}
    for fmt, views in kit.views.items():
        sent = torch.zeros(len(kit.images), dtype=torch.bool)
        sent[kit.wanted(fmt, max_queries)] = True
        whole = sent[views].all(2).all(0)
        scores = model_scores(kit, kit.similarity[fmt], kit.agrees, whole, sent[kit.natural])
        found[fmt] = {
            "decided_by": kit.decided_by(fmt, int(whole.sum())),
            "queries": int(sent.sum()),
            **{method: accusation_counts(kit, scores[method], kit.alpha) for method in METHODS},
        }
    return found
