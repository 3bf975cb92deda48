"""How often a kit accuses models that neither trained nor calibrated it: power, false accusations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.judging.calibration import decide_by
from uapfp_dist.verification.judging.suspect_scores import churn_scores, model_scores, similarity_of_models
from uapfp_dist.verification.judging.verdict import PIRACY
from uapfp_dist.verification.kit.info import Accused, ChurnRates, MethodName, Rates
from uapfp_dist.verification.kit.kit import Kit


@dataclass(frozen=True)
class AccusationRates:
    """Held-out models accused by one method, each judged alone: with its p corrected as that of a first suspect is."""

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
    churn: AccusationRates | None = None
    """By the method of churn that decides, on the first set of points; None for a kit without siblings."""

    def of(self, method: MethodName) -> AccusationRates:
        """Those of one method."""
        if method in ("churn", "weighted_churn"):
            assert self.churn is not None
            return self.churn
        return self.uap if method == "uap" else self.weighted_errors


def measure_rates(kit: Kit, max_queries: int | None = None) -> dict[ResponseFormat, FormatRates]:
    """Format to the rates on the images that a suspect would be sent within `max_queries`.

    Raises:
        UserError: fewer images than the kit can use.
    """
    return {fmt: _format_rates(kit, fmt, max_queries) for fmt in kit.info.decided_by}


def _format_rates(kit: Kit, fmt: ResponseFormat, max_queries: int | None) -> FormatRates:
    queried = torch.zeros(len(kit.images), dtype=torch.bool)
    queried[kit.required_images(fmt, max_queries, exact=kit.exact_claims)] = True
    similarity = similarity_of_models(kit, fmt)
    whole = queried[kit.views[fmt]].all(2).all(0) if fmt in kit.views else queried[:0]
    scores = model_scores(kit, similarity, kit.agrees, whole, queried[kit.natural])
    churn = None
    if kit.churn is not None:
        n_points = kit.n_churn_points(max_queries, kit.exact_claims)
        churn = accusation_rates(kit, set_scores(kit, 0, n_points), kit.corrected_alpha)
    return FormatRates(
        decided_by=kit.decided_by(fmt, int(whole.sum())),
        queries=int(queried.sum()),
        uap=accusation_rates(kit, scores["uap"], kit.corrected_alpha),
        weighted_errors=accusation_rates(kit, scores["weighted_errors"], kit.corrected_alpha),
        churn=churn,
    )


def set_scores(kit: Kit, point_set: int, n_points: int) -> Tensor:
    """(M,) scores of the kit's models on the first points of one set."""
    assert kit.churn is not None
    agrees = kit.churn.agrees[:, point_set]
    return churn_scores(kit, agrees, point_set, n_points, torch.ones(agrees.shape[1], dtype=torch.bool))


def measure_churn_rates(kit: Kit) -> tuple[ChurnRates, ...]:
    """Of every set and number of points; nothing for a kit without siblings."""
    if kit.churn is None:
        return ()
    found = []
    for point_set in range(kit.churn.n_sets):
        for n in kit.churn.budgets.tolist():
            rates = accusation_rates(kit, set_scores(kit, point_set, n), kit.corrected_alpha)
            found.append(ChurnRates(point_set, n, rates.power, rates.false_accusations))
    return tuple(found)


def accusation_rates(kit: Kit, scores: Tensor, alpha: float) -> AccusationRates:
    """Held-out models whose p by (M,) scores of the kit's models is at most `alpha`."""
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
