"""Scores of a model by a kit: the same arithmetic for calibration models at enrolment and for suspects later.

All in double precision and rounded far below any difference between models: another processor sums in another order,
and must come to the same verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.kit.info import MethodName
from uapfp_dist.verification.kit.kit import Kit

DIGITS = 9
"""Decimals that are kept."""


def encoder_of(stack: EncoderStack) -> dict[str, Tensor]:
    """The first encoder of a stack with its two linear maps before the first ReLU as one: w1 (D, H), b1, w2, b2."""
    w1 = stack.basis.double() @ stack.w1[0].double()
    parts = {"w1": w1, "b1": stack.b1[0, 0], "w2": stack.w2[0], "b2": stack.b2[0, 0]}
    return {name: tensor.float() for name, tensor in parts.items()}


def similarities(encoder: Mapping[str, Tensor], prints: Tensor, victim: Tensor) -> Tensor:
    """(V,) float64 cosines between fingerprints (V, D) and the victim's of the same views; no embedding scores 0."""
    a, b = (_encode(encoder, side) for side in (prints, victim))
    scale = a.norm(dim=1) * b.norm(dim=1)
    cosine = torch.where(scale > 0, (a * b).sum(1) / scale.clamp_min(1e-12), torch.zeros_like(scale))
    return cosine.round(decimals=DIGITS)


def _encode(encoder: Mapping[str, Tensor], prints: Tensor) -> Tensor:
    w1, b1, w2, b2 = (encoder[name].double() for name in ("w1", "b1", "w2", "b2"))
    return torch.relu(torch.relu(prints.double() @ w1 + b1) @ w2 + b2)


def fingerprints(probabilities: Tensor, views: Tensor, fmt: ResponseFormat) -> Tensor:
    """(V, D) of Eq. 6 from probabilities (Q, C) and a kit's views (2, V, n)."""
    return fmt.apply(probabilities)[views].movedim(0, 2).flatten(1)


@dataclass(frozen=True)
class SuspectScores:
    """One model's scores, on the images that it responded to."""

    views: Tensor
    """(V,) bool: the views answered whole."""
    similarity: Tensor
    """(V,) float64, meaningless outside those."""
    errors: Tensor
    """(N,) bool: the natural errors answered."""
    agrees: Tensor
    """(N,) bool: where it gives the victim's label."""
    churn: Tensor
    """(n,) bool: the churn points of the set that were answered."""
    churn_agrees: Tensor
    """(n,) bool: where it gives the victim's label."""


def score_suspect(kit: Kit, fmt: ResponseFormat, probabilities: Tensor, point_set: int = 0) -> SuspectScores:
    """Score responses (Q, C) in one of the kit's formats; a row that is not all finite was not answered."""
    answered = probabilities.isfinite().all(1)
    known = torch.where(answered[:, None], probabilities, torch.zeros_like(probabilities))
    agrees = known.argmax(1) == kit.victim_labels
    churn = kit.churn.points[point_set] if kit.churn else kit.natural[:0]
    whole, similarity = _score_views(kit, fmt, known, answered)
    return SuspectScores(
        views=whole,
        similarity=similarity,
        errors=answered[kit.natural],
        agrees=agrees[kit.natural],
        churn=answered[churn],
        churn_agrees=agrees[churn],
    )


def _score_views(kit: Kit, fmt: ResponseFormat, known: Tensor, answered: Tensor) -> tuple[Tensor, Tensor]:
    """(V,) bool views answered whole and (V,) float64 similarities; none in a kit without an encoder."""
    if fmt not in kit.views:
        return answered[:0], torch.zeros(0, dtype=torch.float64)
    views = kit.views[fmt]
    prints, victim = (fingerprints(p, views, fmt) for p in (known, kit.victim))
    return answered[views].all(2).all(0), similarities(kit.encoders[fmt], prints, victim)


def churn_scores(kit: Kit, agrees: Tensor, point_set: int, n_points: int | None, answered: Tensor) -> Tensor:
    """(K,) float64 scores by the method of churn that decides; NaN where no point was answered.

    Args:
        kit: with churn points.
        agrees: (K, n) bool: models that give the victim's label at the points of the set.
        point_set: which one.
        n_points: points sent; None: all.
        answered: (n,) bool.
    """
    assert kit.churn is not None
    n_sent = kit.churn.n_sent(n_points)
    return kit.churn.scores(agrees, point_set, n_sent, answered).round(decimals=DIGITS)


def model_scores(
    kit: Kit, similarity: Tensor, agrees: Tensor, views: Tensor | None = None, errors: Tensor | None = None
) -> dict[MethodName, Tensor]:
    """Method to (M,) float64 scores of models; NaN where nothing of what it needs was answered.

    Args:
        kit: for the weights of natural errors.
        similarity: (M, V) by view.
        agrees: (M, N) bool.
        views: (V,) bool: those that count, all by default.
        errors: (N,) bool: natural errors that count, all by default.
    """
    odds = torch.where(agrees, kit.log_odds_agree, kit.log_odds_disagree)
    odds = odds if errors is None else odds[:, errors]
    counted = similarity if views is None else similarity[:, views]
    total = odds.sum(1) if odds.shape[1] else torch.full((len(odds),), torch.nan, dtype=torch.float64)
    return {"uap": counted.mean(1).round(decimals=DIGITS), "weighted_errors": total.round(decimals=DIGITS)}


def similarity_of_models(kit: Kit, fmt: ResponseFormat) -> Tensor:
    """(M, V) float64: those of the kit's models, without any view in a kit without an encoder."""
    return kit.similarity.get(fmt, torch.zeros(len(kit.info.models), 0, dtype=torch.float64))
