"""The rules by which a report's numbers say whether its fingerprint can be trusted, and against which groups.

They apply to the method that decides, at the report's alpha. Against a group of negatives it is
- not trusted ("no") where its AUC or the 95 % interval of that reaches chance, or that of the share accused lies above
  alpha, or where there is none and at least half are accused;
- "doubtful" where it accuses more than alpha otherwise;
- not known ("too few models to tell") where calibration has not seen the group and fewer models were tested than
  calibration would need, where there is no interval, or where all models are told apart and are five or fewer;
- trusted ("yes") elsewhere.
Of models stolen from others, victims count and not models; with fewer than five there is no interval.
A reference without UAPs is "as good" as the UAP where its AUC falls behind by at most `MARGIN`, "not told apart" where
their intervals overlap, else "worse". Both are on points of PROBE, which nothing trained on, where that was measured:
on the victim's training images membership counts as well as lineage.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from uapfp_dist.evaluation.judging import CHOSEN, NEGATIVE_GROUPS, Group
from uapfp_dist.fingerprints.methods.registry import twin_name
from uapfp_dist.reporting.number_format import percent
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.statistics.auc import FEWEST_VICTIMS, Estimate
from uapfp_dist.statistics.intervals import clopper_pearson

MARGIN = 0.005
"""Of AUC."""
CHANCE = HALF = 0.5
REFERENCES = ("random", "clean", "lap")
"""Methods that are `uap` without UAPs: random vectors or local perturbations of their norm, unperturbed images."""

RULES = (
    "No: the AUC or its 95 % interval reaches chance, or that of the share accused lies above alpha, or there is none "
    "and at least half are accused. Doubtful: more than alpha are accused otherwise. Too few models to tell: "
    "calibration has not seen the group, and fewer models were tested than it would need, or all are told apart and at "
    "most five; of models stolen from others victims count, and with fewer than five there is no interval. Yes: none "
    "of these."
)
"""The rules of `group_trust`, in words for a reader."""

Trust = Literal["yes", "no", "doubtful", "too few models to tell", "not measured here"]
Comparison = Literal["as good", "not told apart", "worse"]


@dataclass(frozen=True)
class AccusedShare:
    """Share of a role's models that are accused, mean over resamples."""

    value: float
    n: int
    """Models of the role that resample 0 tests."""
    victims: int | None = None
    """Those that they were stolen from, where it was another than the owner's; None: each model counts."""

    @property
    def independent(self) -> int:
        """How many there are of what is independent: victims, else models."""
        return self.n if self.victims is None else self.victims

    @property
    def bounds(self) -> tuple[float, float]:
        """The exact 95 % interval for so many; NaN with too few victims."""
        if self.victims is not None and self.victims < FEWEST_VICTIMS:
            return math.nan, math.nan
        return clopper_pearson(self.value * self.independent, self.independent)

    def exceeds(self, alpha: float) -> bool:
        """Whether the share is above `alpha`."""
        return _above(self.value, alpha)

    def surely_exceeds(self, alpha: float) -> bool:
        """Whether the whole interval is above `alpha`; without one, whether at least half are accused."""
        low = self.bounds[0]
        return self.value >= HALF if math.isnan(low) else _above(low, alpha)

    def __str__(self) -> str:
        low, high = self.bounds
        if math.isnan(low):
            return percent(self.value)
        return f"{percent(self.value)} [{percent(low)[:-2]}, {percent(high)[:-2]}]"


@dataclass(frozen=True)
class GroupTrust:
    """What is known of one group of negatives."""

    group: Group
    trust: Trust
    accused: AccusedShare
    auc: Estimate | None
    """None: not measured."""
    calibrating: int
    """Models of the group that calibrate the verdict."""


def accused_share(report: EvaluationReport, rate: float, role: str) -> AccusedShare:
    """A rate of the report with its number of models."""
    return AccusedShare(rate, sum(verdict.role == role for verdict in report.verdicts))


def can_decide(report: EvaluationReport) -> bool:
    """Whether calibration is large enough to claim anything at alpha."""
    return report.calibration.models >= report.calibration.needed and not math.isnan(report.power.conformal)


def power(report: EvaluationReport) -> AccusedShare:
    """Of models stolen by hard labels."""
    return accused_share(report, report.power.conformal, "piracy")


def group_trust(report: EvaluationReport, group: Group) -> GroupTrust:
    """By the rules above."""
    rate = report.false_accusation.conformal.get(group, math.nan)
    shown = accused_share(report, rate, NEGATIVE_GROUPS[group])
    accused = replace(shown, victims=(report.victims or {}).get(group))
    sizes = {"homologous": report.calibration.models, "other_victim": report.calibration.other_victim}
    calibrating, auc = sizes.get(group, 0), auc_of(report, report.decided_by, group)
    return GroupTrust(group, _trust(report, accused, auc, calibrating), accused, auc, calibrating)


def reaches_chance(auc: Estimate) -> bool:
    """Whether an interval does; without one, whether the AUC does, which any interval would hold.

    Perfect separation does not: five models a side or fewer leave that much room, and they are too few to tell.
    """
    return auc.mean < 1 and min(auc.mean, auc.mean if math.isnan(auc.low) else auc.low) <= CHANCE


def _trust(report: EvaluationReport, accused: AccusedShare, auc: Estimate | None, calibrating: int) -> Trust:
    alpha, needed = report.false_accusation.alpha, report.calibration.needed
    if auc is None:
        return "not measured here"
    if reaches_chance(auc) or accused.surely_exceeds(alpha):
        return "no"
    if accused.exceeds(alpha):
        return "doubtful"
    few = max(calibrating, accused.independent) < needed or math.isnan(auc.low) or math.isnan(accused.value)
    few = few or auc.low <= CHANCE
    return "too few models to tell" if few else "yes"


def lineage_method(report: EvaluationReport, group: Group) -> str:
    """The row that says what UAPs find of lineage: on points of PROBE where that was measured, else of D_v."""
    return twin_name("uap") if auc_of(report, twin_name("uap"), group) else "uap"


def compare_references(report: EvaluationReport, group: Group) -> dict[str, Comparison]:
    """References that were measured against a group, on the points of `lineage_method`, and how they stand to it."""
    ours, found = auc_of(report, lineage_method(report, group), group), dict[str, Comparison]()
    for method in REFERENCES:
        theirs = reference_auc(report, method, group)
        if ours is not None and theirs is not None:
            found[method] = "as good" if theirs.mean >= ours.mean - MARGIN else "not told apart"
            if found[method] != "as good" and theirs.high < ours.low:
                found[method] = "worse"
    return found


def reference_auc(report: EvaluationReport, method: str, group: Group) -> Estimate | None:
    """Of a reference, on the points of `lineage_method`; of local perturbations at the paper's norm where those of the
    norms of `uap` were left out."""
    on_probe = lineage_method(report, group) != "uap"
    names = (method, "lap_paper") if method == "lap" else (method,)
    found = [auc_of(report, twin_name(name) if on_probe else name, group) for name in names]
    return next((area for area in found if area is not None), None)


def best_method(report: EvaluationReport, group: Group) -> str:
    """The method with the largest AUC against a group; empty where none was measured.

    Of equal ones the method that decides, else the first by name: not the order in which a file holds them.
    """
    names = dict.fromkeys((report.decided_by, *sorted(report.auc_detail)))
    areas = {name: area.mean for name in names if (area := auc_of(report, name, group)) is not None}
    return max(areas, key=lambda method: areas[method], default="")


def better_method(report: EvaluationReport, group: Group) -> str:
    """The method with the largest AUC against a group, where its interval lies above that of the one that decides."""
    best, ours = best_method(report, group), auc_of(report, report.decided_by, group)
    area = auc_of(report, best, group) if best else None
    return best if ours is not None and area is not None and area.low > ours.high else ""


def auc_of(report: EvaluationReport, method: str, group: Group) -> Estimate | None:
    """In the format that the training models chose; None where it was not measured."""
    found = report.auc_detail.get(method, {}).get(CHOSEN, {}).get(group)
    return None if found is None or math.isnan(found.mean) else found


def _above(rate: float, alpha: float) -> bool:
    """Shares are ratios of counts: a tolerance far below one model."""
    return rate > alpha + 1e-9
