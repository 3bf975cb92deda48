"""Judge suspects by a kit, their responses and other looks: a pure function, bit for bit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.conformal import Decision, needed_for
from uapfp_dist.statistics.holm import holm_after
from uapfp_dist.statistics.t_test import paper_t_test
from uapfp_dist.verification.judging.accusation_rates import accusation_rates
from uapfp_dist.verification.judging.calibration import (
    decide_by,
    group_sizes,
    groups_not_calibrated,
    how_to_decide,
    max_suspects,
    smallest_calibration,
)
from uapfp_dist.verification.judging.exact import EXACT_DECIDES, exact_evidence
from uapfp_dist.verification.judging.limits import verdict_limits
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.suspect_scores import (
    SuspectScores,
    churn_scores,
    model_scores,
    score_suspect,
    similarity_of_models,
)
from uapfp_dist.verification.judging.verdict import (
    CANNOT_DECIDE,
    INCONCLUSIVE,
    PIRACY,
    Caught,
    ChurnEvidence,
    Claim,
    Conformal,
    ExactEvidence,
    RegisterState,
    SuspectResponses,
    SuspectVerdict,
)
from uapfp_dist.verification.kit.info import MethodName, Rates
from uapfp_dist.verification.kit.kit import Kit


def judge(
    kit: Kit, suspects: Sequence[SuspectResponses], alpha: float | None = None, looks: OtherLooks | None = None
) -> list[SuspectVerdict]:
    """One verdict per suspect, in their order; the chance of any false accusation among them is at most `alpha`.

    With churn points and a register that is so over all looks, one after another: among the suspects judged together by
    Holm's step-down procedure, at alpha / (K - earlier looks that were claimed) for the K that the kit was enrolled
    for. What is found later lowers no p-value.

    Args:
        kit: what they were queried by.
        suspects: judged together.
        alpha: tolerated rate of false accusation; None: the kit's own.
        looks: at other suspects with the same kit. One that does not say for how many it was enrolled, as of earlier
            code, is corrected for all looks up to now, whatever was found.

    Raises:
        UserError: more suspects than the kit can decide; responses of another shape; an alpha outside (0, 1).
    """
    alpha = kit.alpha if alpha is None else alpha
    if not 0.0 < alpha < 1.0:
        raise UserError(f"alpha: expected a rate between 0 and 1, got {alpha:g}", argument="alpha")
    most = max_suspects(kit, alpha)
    if len(suspects) > max(most, 1):
        raise UserError(
            f"suspects: this kit can decide at most {most} at once at alpha {alpha:g}, got {len(suspects)}; judge "
            f"fewer, or {how_to_decide(kit, alpha, len(suspects))}",
            argument="suspects",
            options=("max_suspects",),
        )
    scored = [_ScoredSuspect.of(kit, suspect, alpha) for suspect in suspects]
    looks = looks or OtherLooks()
    n_looks = len(suspects) + len(looks.p_values)
    earlier = looks.p_values if kit.info.max_suspects is not None else ()
    adjusted = holm_after([one.p_counted for one in scored], earlier, kit.n_corrected(n_looks))
    adjusted = [max(p, looks.stated.get(one.suspect.name, 0.0)) for one, p in zip(scored, adjusted, strict=True)]
    n_by_then = len(looks.p_values) if looks.n_by_then is None else looks.n_by_then
    state = RegisterState(looks.register_head, len(suspects) + n_by_then) if looks.register_head else None
    return [one.verdict(p, alpha, n_looks, state) for one, p in zip(scored, adjusted, strict=True)]


@dataclass(frozen=True)
class _ScoredSuspect:
    """One suspect with all that Holm's correction does not touch."""

    kit: Kit
    suspect: SuspectResponses
    format: ResponseFormat
    scores: SuspectScores
    own: dict[MethodName, float]
    """Method to the suspect's score."""
    others: dict[MethodName, Tensor]
    """Method to (M,) scores of the kit's models, on the same images."""
    decisions: dict[MethodName, Decision]
    method: MethodName
    """The one that decides."""

    @staticmethod
    def of(kit: Kit, suspect: SuspectResponses, alpha: float) -> "_ScoredSuspect":
        """Score the suspect, and the kit's models on the images that it responded to."""
        expected = (len(kit.images), kit.n_classes)
        if tuple(suspect.probabilities.shape) != expected:
            raise UserError(
                f"suspect {suspect.name}: expected answers of shape {expected}, got "
                f"{tuple(suspect.probabilities.shape)}; query it with the images of this kit"
            )
        fmt = kit.scored_as(suspect.format)
        scores = score_suspect(kit, fmt, suspect.probabilities, suspect.point_set)
        answered = scores.views, scores.errors
        others = model_scores(kit, similarity_of_models(kit, fmt), kit.agrees, *answered)
        own = model_scores(kit, scores.similarity[None], scores.agrees[None], *answered)
        method = kit.decided_by(fmt, int(scores.views.sum()))
        if kit.churn is not None:
            sent = suspect.point_set, suspect.n_churn_points, scores.churn
            others[method] = churn_scores(kit, kit.churn.agrees[:, suspect.point_set], *sent)
            own[method] = churn_scores(kit, scores.churn_agrees[None], *sent)
        return _ScoredSuspect(
            kit=kit,
            suspect=suspect,
            format=fmt,
            scores=scores,
            own={name: float(score) for name, score in own.items()},
            others=others,
            decisions={name: decide_by(kit, others[name], float(score), alpha) for name, score in own.items()},
            method=method,
        )

    @property
    def decision(self) -> Decision:
        """By the conformal method that was fixed at enrolment."""
        return self.decisions[self.method]

    @cached_property
    def exact(self) -> ExactEvidence | None:
        """None where it was not asked, or nothing was answered."""
        return exact_evidence(self.kit.exact, self.suspect.probabilities) if self.suspect.exact else None

    @property
    def p_value(self) -> float:
        """Of the one test that claims."""
        if not self.kit.exact_claims:
            return self.decision.p_value
        return self.exact.p_value if self.exact else 1.0

    @property
    def p_counted(self) -> float:
        """Among the suspects corrected for: answers on which no claim can rest give up no share of alpha."""
        return 1.0 if self.suspect.fatal and self.suspect.fatal_is_one else self.p_value

    def verdict(
        self, p_adjusted: float, alpha: float, n_suspects: int, register: RegisterState | None
    ) -> SuspectVerdict:
        """The claim and all that stands beside it; `n_suspects` are corrected for together."""
        views, claims = self.scores.similarity[self.scores.views], self.kit.exact_claims
        n_corrected = self.kit.n_corrected(n_suspects)
        power = self._power(alpha if self.kit.churn is None else alpha / n_corrected)
        missing = groups_not_calibrated(self.kit, self.decision.not_calibrated_against)
        return SuspectVerdict(
            name=self.suspect.name,
            claim=self._claim(p_adjusted, alpha, n_suspects),
            p_value=self.p_value,
            p_adjusted=p_adjusted,
            alpha=alpha,
            decided_by="sibling_test" if claims else self.method,
            decided_because=EXACT_DECIDES if claims else self.kit.decided_because(self.format, len(views)),
            similarity=self.own["uap"],
            similarity_std=_rounded(float(views.std())) if len(views) > 1 else math.nan,
            p_value_uap=self._p_beside("uap"),
            weighted_errors=self.own["weighted_errors"],
            p_value_weighted_errors=self._p_beside("weighted_errors"),
            p_value_t_test=self._t_test(views),
            queries=int(self._answered().sum()),
            agreement_clean=self._agreement_clean(),
            power={kind: Caught(n, of) for kind, (n, of) in power.items()},
            calibration=group_sizes(self.kit),
            not_calibrated_against=missing,
            findings=self.suspect.findings,
            limits=self._limits(missing, power, alpha, n_suspects, registered=register is not None),
            scores=self._model_scores(),
            format=self.format.wire,
            input_check=self.suspect.input_check,
            churn=self._churn(),
            exact=self.exact,
            conformal=Conformal(self.method, self.decision.p_value) if claims else None,
            n_corrected=None if self.kit.churn is None else n_corrected,
            register=register,
        )

    def _power(self, level: float) -> Rates:
        """Held-out stolen models with p at most `level`; by the exact test known where the kit counted them alone."""
        if not self.kit.exact_claims:
            return accusation_rates(self.kit, self.others[self.method], level).power
        said = self.kit.info.exact
        return {"all": said.power} if said and said.power and math.isclose(level, self.kit.rates_level) else {}

    def _p_beside(self, method: MethodName) -> float:
        """NaN by a method that a light kit does not hold."""
        missing = self.kit.churn is not None and not self.kit.views
        return math.nan if missing else self.decisions[method].p_value

    def _churn(self) -> ChurnEvidence | None:
        if self.kit.churn is None:
            return None
        answered = self.scores.churn[: self.kit.churn.n_sent(self.suspect.n_churn_points)]
        agreed = int((self.scores.churn_agrees[: len(answered)] & answered).sum())
        return ChurnEvidence(self.own[self.method], agreed, int(answered.sum()), self.suspect.point_set)

    def _claim(self, p_adjusted: float, alpha: float, n_suspects: int) -> Claim:
        if smallest_calibration(self.kit) < needed_for(alpha / self.kit.n_corrected(n_suspects)):
            return CANNOT_DECIDE
        # p is a ratio of counts: compare with a tolerance far below 1 / (m + 1).
        accused = p_adjusted <= alpha + 1e-12 and not self.suspect.fatal
        return PIRACY if accused else INCONCLUSIVE

    def _t_test(self, views: Tensor) -> float:
        """Against the views of the group that the paper's test compares with."""
        rows = [
            i for i, row in enumerate(self.kit.info.models) if row.part == "calibration" and row.group == "homologous"
        ]
        others = similarity_of_models(self.kit, self.format)[rows][:, self.scores.views].flatten()
        if len(views) < 2 or len(others) < 2:
            return math.nan
        return _rounded(paper_t_test(views, others, numpy_rng("t", self.kit.digest)))

    def _answered(self) -> Tensor:
        """(Q,) bool."""
        return self.suspect.probabilities.isfinite().all(1)

    def _agreement_clean(self) -> float:
        clean = self.kit.clean[self._answered()[self.kit.clean]]
        same = self.suspect.probabilities[clean].argmax(1) == self.kit.victim_labels[clean]
        return float(same.float().mean()) if len(clean) else math.nan

    def _model_scores(self) -> dict[str, tuple[float, ...]]:
        """Group to the scores of calibration models, and of held-out stolen ones, by the method that decides."""
        found: dict[str, list[float]] = {}
        for row, value in zip(self.kit.info.models, self.others[self.method].tolist(), strict=True):
            if row.part == "calibration" or row.group == "piracy":
                found.setdefault(row.group, []).append(value)
        return {group: tuple(scores) for group, scores in found.items()}

    def _limits(
        self, missing: tuple[str, ...], power: Rates, alpha: float, n_suspects: int, *, registered: bool
    ) -> tuple[str, ...]:
        sizes = group_sizes(self.kit)
        return verdict_limits(
            alpha=alpha,
            n_suspects=n_suspects,
            n_corrected=self.kit.n_corrected(n_suspects),
            caught=power.get("all"),
            missing=[group for group in missing if group not in sizes],
            too_few=[group for group in missing if group in sizes],
            whole_views=(int(self.scores.views.sum()), len(self.scores.views)),
            fatal=self.suspect.fatal,
            fatal_is_one=self.suspect.fatal_is_one,
            of_kit=self.kit.info.limits,
            by_churn=self.kit.churn is not None,
            exact_claims=self.kit.exact_claims,
            registered=registered,
            uncorrected=self.kit.exact is not None and self.kit.states_uncorrected_rates,
        )


def _rounded(value: float) -> float:
    """Another processor sums in another order; a replay there must print the same."""
    return float(f"{value:.9g}")
