"""Judge suspects by their answers and a kit. A pure function: the same answers give the same verdict, bit for bit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.conformal import Decision, needed_for
from uapfp_dist.statistics.t_test import paper_t_test
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_rates import _calibrates, accusation_counts, decide_by, group_sizes, most_suspects
from uapfp_dist.verification.scoring import SuspectScores, model_scores, score
from uapfp_dist.verification.verdict import (
    GROUPS,
    INCONCLUSIVE,
    METHODS,
    PIRACY,
    UNDECIDABLE,
    SuspectAnswers,
    SuspectVerdict,
)


def judge(kit: Kit, suspects: Sequence[SuspectAnswers], alpha: float | None = None) -> list[SuspectVerdict]:
    """One verdict per suspect, in their order; the chance of any false accusation among them is at most `alpha`.

    Args:
        kit: what they were asked by.
        suspects: judged at once: p-values are corrected by Holm's step-down procedure.
        alpha: tolerated rate of false accusation; None: the kit's own.

    Raises:
        UserError: more suspects than the kit can decide; answers of another shape; an alpha outside (0, 1).
    """
    alpha = kit.alpha if alpha is None else alpha
    if not 0.0 < alpha < 1.0:
        raise UserError(f"alpha: expected a rate between 0 and 1, got {alpha:g}")
    most = most_suspects(kit, alpha)
    if len(suspects) > max(most, 1):
        raise UserError(
            f"suspects: this kit can decide at most {most} at once at alpha {alpha:g}, got {len(suspects)}; enroll "
            f"with --max-suspects {len(suspects)}, or judge fewer"
        )
    cases = [_Judgement.of(kit, suspect, alpha) for suspect in suspects]
    adjusted = holm([case.decision.p_value for case in cases])
    return [case.verdict(p, alpha, len(suspects)) for case, p in zip(cases, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm, 1979): at most alpha for those whose rejection keeps the family-wise rate."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class _Judgement:
    """One suspect with all that Holm's correction does not touch."""

    kit: Kit
    suspect: SuspectAnswers
    format: ResponseFormat
    scored: SuspectScores
    own: dict[str, float]
    """Method to the suspect's score."""
    others: dict[str, Tensor]
    """Method to (M,) scores of the kit's models, on the same images."""
    decisions: dict[str, Decision]
    method: str

    @staticmethod
    def of(kit: Kit, suspect: SuspectAnswers, alpha: float) -> "_Judgement":
        """Score the suspect, and the kit's models on the images that it answered."""
        expected = (len(kit.images), kit.n_classes)
        if tuple(suspect.probabilities.shape) != expected:
            raise UserError(
                f"suspect {suspect.name}: expected answers of shape {expected}, got "
                f"{tuple(suspect.probabilities.shape)}; ask it the images of this kit"
            )
        fmt = kit.scored_as(suspect.format)
        scored = score(kit, fmt, suspect.probabilities)
        asked = scored.views, scored.errors
        others = model_scores(kit, kit.similarity[fmt], kit.agrees, *asked)
        mine = model_scores(kit, scored.similarity[None], scored.agrees[None], *asked)
        own = {method: float(mine[method]) for method in METHODS}
        decisions = {method: decide_by(kit, others[method], own[method], alpha) for method in METHODS}
        method = kit.decided_by(fmt, int(scored.views.sum()))
        return _Judgement(kit, suspect, fmt, scored, own, others, decisions, method)

    @property
    def decision(self) -> Decision:
        """By the method that was fixed at enrolment."""
        return self.decisions[self.method]

    def verdict(self, p_adjusted: float, alpha: float, n_suspects: int) -> SuspectVerdict:
        """The claim and all that stands beside it."""
        views, info = self.scored.similarity[self.scored.views], self.kit.info
        answered = self.suspect.probabilities.isfinite().all(1)
        clean = self.kit.clean[answered[self.kit.clean]]
        same = self.suspect.probabilities[clean].argmax(1) == self.kit.victim_labels[clean]
        power = accusation_counts(self.kit, self.others[self.method], alpha)["power"]
        sizes = group_sizes(self.kit)
        missing = tuple(g for g in GROUPS if g not in sizes or g in self.decision.not_calibrated_against)
        scores: dict[str, list[float]] = {}
        for row, value in zip(info["models"], self.others[self.method].tolist(), strict=True):
            if row["part"] == "calibration" or row["group"] == "piracy":
                scores.setdefault(row["group"], []).append(value)
        return SuspectVerdict(
            name=self.suspect.name,
            claim=self._claim(p_adjusted, alpha, n_suspects),
            p_value=self.decision.p_value,
            p_adjusted=p_adjusted,
            alpha=alpha,
            decided_by=self.method,
            decided_because=self.kit.decided_because(self.format, int(self.scored.views.sum())),
            similarity=self.own["uap"],
            similarity_std=_rounded(float(views.std())) if len(views) > 1 else math.nan,
            p_value_uap=self.decisions["uap"].p_value,
            weighted_errors=self.own["weighted_errors"],
            p_value_weighted_errors=self.decisions["weighted_errors"].p_value,
            p_value_t_test=self._t_test(views),
            queries=int(answered.sum()),
            agreement_clean=float(same.float().mean()) if len(clean) else math.nan,
            power={kind: {"caught": n, "of": of} for kind, (n, of) in power.items()},
            calibration=sizes,
            not_calibrated_against=missing,
            findings=self.suspect.findings,
            limits=self._limits(missing, power, alpha, n_suspects),
            scores=scores,
            format=self.format.wire,
        )

    def _claim(self, p_adjusted: float, alpha: float, n_suspects: int) -> str:
        smallest = min(group_sizes(self.kit).values(), default=0)
        if smallest < needed_for(alpha / n_suspects):
            return UNDECIDABLE
        # p is a ratio of counts: compare with a tolerance far below 1 / (m + 1).
        accused = p_adjusted <= alpha + 1e-12 and not self.suspect.fatal
        return PIRACY if accused else INCONCLUSIVE

    def _t_test(self, views: Tensor) -> float:
        rows = [i for i, row in enumerate(self.kit.info["models"]) if _calibrates(row)]
        others = self.kit.similarity[self.format][rows][:, self.scored.views].flatten()
        if len(views) < 2 or len(others) < 2:
            return math.nan
        return _rounded(paper_t_test(views, others, numpy_rng("t", self.kit.digest)))

    def _limits(
        self, missing: tuple[str, ...], power: dict[str, list[int]], alpha: float, n_suspects: int
    ) -> tuple[str, ...]:
        """Plain sentences."""
        said = [
            "`inconclusive` does not mean innocent.",
            f"An innocent model is accused at most {100 * alpha:.3g} % of the time if it resembles the calibration "
            "models: other data, architectures or training than theirs are not covered.",
        ]
        if "all" in power:
            caught, of = power["all"]
            said.append(
                f"Of {of} held-out stolen models this kit catches {caught} with the images answered, one at a time."
            )
        if n_suspects > 1:
            said.append(f"Judged together with {n_suspects - 1} others (Holm): less is caught than alone.")
        said.append(
            "Verdicts of other runs (another kit, --out, --output, --max-queries, seed or alpha) are not corrected "
            "for: of several, all must be told."
        )
        if missing:
            said.append(f"Not calibrated against: {', '.join(missing)}.")
        n_whole, n_views = int(self.scored.views.sum()), len(self.scored.views)
        if n_whole < n_views:
            said.append(f"{n_whole} of {n_views} views were answered whole; below half, weighted errors decide.")
        if self.suspect.fatal:
            said.append("The answers are not sane: no claim of piracy can rest on them.")
        return (*said, *self.kit.info.get("limits", ()))


def _rounded(value: float) -> float:
    """Another processor sums in another order; a replay there must print the same."""
    return float(f"{value:.9g}")
