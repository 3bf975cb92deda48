"""How often a kit accuses models that neither trained nor calibrated it: power, false accusations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.judging.calibration import decide_by
from uapfp_dist.verification.judging.suspect_scores import model_scores
from uapfp_dist.verification.judging.verdict import PIRACY
from uapfp_dist.verification.kit.info import Accused, MethodName, Rates
from uapfp_dist.verification.kit.kit import Kit


@dataclass(frozen=True)
class AccusationRates:
    """Held-out models accused by one method, each judged alone."""

    power: Rates
    """Of stolen models: `all`, and by `<attack>:<labels>`."""
    false_accusations: Rates
    """Of negatives: `all`, and by group."""


@dataclass(frozen=True)
class FormatRates:
    """Rates of a kit in one response format."""

    decided_by: MethodName
    queries: int
    """Images that a suspect is sent."""
    uap: AccusationRates
    weighted_errors: AccusationRates

    def of(self, method: MethodName) -> AccusationRates:
        """Those of one method."""
        return self.uap if method == "uap" else self.weighted_errors


def measure_rates(kit: Kit, max_queries: int | None = None) -> dict[ResponseFormat, FormatRates]:
    """Format to the rates on the images that a suspect would be sent within `max_queries`.

    Raises:
        UserError: fewer images than the kit can use.
    """
    return {fmt: _format_rates(kit, fmt, max_queries) for fmt in kit.views}


def _format_rates(kit: Kit, fmt: ResponseFormat, max_queries: int | None) -> FormatRates:
    queried = torch.zeros(len(kit.images), dtype=torch.bool)
    queried[kit.required_images(fmt, max_queries)] = True
    whole = queried[kit.views[fmt]].all(2).all(0)
    scores = model_scores(kit, kit.similarity[fmt], kit.agrees, whole, queried[kit.natural])
    return FormatRates(
        decided_by=kit.decided_by(fmt, int(whole.sum())),
        queries=int(queried.sum()),
        uap=accusation_rates(kit, scores["uap"], kit.alpha),
        weighted_errors=accusation_rates(kit, scores["weighted_errors"], kit.alpha),
    )


def accusation_rates(kit: Kit, scores: Tensor, alpha: float) -> AccusationRates:
    """Held-out models accused at `alpha` by (M,) scores of the kit's models, each judged alone."""
    found = AccusationRates({}, {})
    for row, value in zip(kit.info.models, scores.tolist(), strict=True):
        if row.part != "test":
            continue
        stolen = row.group == "piracy"
        accused = decide_by(kit, scores, value, alpha).claim == PIRACY
        rates = found.power if stolen else found.false_accusations
        for kind in ("all", f"{row.attack}:{row.labels}" if stolen else row.group):
            n, of = rates.get(kind, (0, 0))
            rates[kind] = Accused(n + accused, of + 1)
    return found
