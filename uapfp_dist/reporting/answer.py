"""The answer of a report in plain words: can this fingerprint be trusted here, and against whom not?

Every sentence follows from the numbers of the report by the rules of `reporting.trust`, and carries them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from uapfp_dist.evaluation.judging import NEGATIVE_GROUPS, Group
from uapfp_dist.reporting.model_names import COLUMNS, GROUPS
from uapfp_dist.reporting.number_format import NOT_MEASURED, interval, percent
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.text_tables import markdown_table
from uapfp_dist.reporting.trust import (
    REFERENCES,
    GroupTrust,
    Trust,
    accused_share,
    auc_of,
    best_method,
    better_method,
    can_decide,
    compare_references,
    group_trust,
    lineage_method,
    power,
    reaches_chance,
    reference_auc,
)
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.statistics.conformal import CANNOT_DECIDE

MOST = 8
"""Methods in the table."""
MOST_NAMED = 4
"""At most so many methods are named as not shown; with more, see the table of all methods."""
TABLE_ORDER = (
    "uap", "uap_paper", "random", "clean", "weighted_errors", "weighted_churn", "churn", "ipguard_tuned",
    "ipguard", "lap", "confidence",
)  # fmt: skip
"""Order of the table, after the method that decides and the best one against each group; the others come last."""
REFERENCE_WORDS = {"random": "random vectors", "clean": "unperturbed images", "lap": "local perturbations"}
MISSING = "not measured here"
PARTS: tuple[Trust, ...] = ("yes", "no", "doubtful", "too few models to tell")
"""Of the first sentence, in this order."""


@dataclass(frozen=True)
class MethodRow:
    """A method of the table."""

    method: str
    auc: Mapping[Group, Estimate]
    """Of stolen models against a group of negatives, where it was measured."""


@dataclass(frozen=True)
class Sentence:
    """What is found, and the numbers that it rests on."""

    finding: str
    numbers: str = ""

    def __str__(self) -> str:
        return f"{self.finding} {self.numbers}".strip()


@dataclass(frozen=True)
class Answer:
    """The summary of a report, for a reader of two minutes."""

    findings: tuple[Sentence, ...]
    """The first one is the answer."""
    methods: tuple[MethodRow, ...]
    """At most `MOST`, the one that decides first."""
    caption: str
    """Of the table of methods."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The findings as plain text."""
        return tuple(map(str, self.findings))

    def table(self) -> pd.DataFrame:
        """Columns `method`, three per group of negatives (`<name>`, `<name>_low`, `<name>_high`: AUC)."""
        groups = [group for group in COLUMNS if any(group in row.auc for row in self.methods)]
        rows = []
        for row in self.methods:
            cells: dict[str, str | float] = {"method": row.method}
            for group in groups:
                area, name = row.auc.get(group), COLUMNS[group]
                bounds = (area.mean, area.low, area.high) if area is not None else (math.nan,) * 3
                cells |= dict(zip((name, f"{name}_low", f"{name}_high"), bounds, strict=True))
            rows.append(cells)
        return pd.DataFrame(rows)

    def markdown(self) -> str:
        """The findings and the table as Markdown, without a heading."""
        first, *others = self.findings
        listed = "\n".join(f"- **{found.finding}** {found.numbers}".rstrip() for found in others)
        return f"**{first}**\n\n{listed}\n\n{self.caption}:\n\n{markdown_table(self.table())}\n"


def answer(report: EvaluationReport) -> Answer:
    """The answer, from the numbers of a report alone, also of one by earlier code."""
    groups = [group_trust(report, group) for group in NEGATIVE_GROUPS]
    findings = [Sentence(_headline(report, groups)), _power(report), *(_group(report, found) for found in groups)]
    findings += [_needs_uap(report), _unseen_kinds(report), *_modified(report), _setting(report)]
    rows, n = _methods(report), len(report.auc_detail)
    left_out = sorted(report.auc_detail.keys() - {row.method for row in rows})
    others = f" (not shown: {', '.join(left_out)})" if len(left_out) <= MOST_NAMED else ""
    caption = (
        f"AUC of stolen models against each group of negatives, mean over {report.n_resamples} resamples and 95 % "
        f"interval over models. {f'{len(rows)} of {n} methods{others}' if left_out else 'All methods'}; "
        f"{report.decided_by} decides"
    )
    return Answer(tuple(findings), rows, caption)


def _headline(report: EvaluationReport, groups: Sequence[GroupTrust]) -> str:
    question, alpha, sizes = "Can this fingerprint be trusted here?", _alpha(report), report.calibration
    if not can_decide(report):
        return (
            f"{question} Too few models to answer: {sizes.models} calibration models, {sizes.needed} needed; every "
            f"verdict is: {CANNOT_DECIDE} ({alpha})."
        )
    accused = power(report)
    if not accused.surely_exceeds(report.false_accusation.alpha):
        return (
            f"{question} Not shown: it accuses {accused} of the stolen models ({accused.n}) at {alpha}, not told apart "
            "from accusing at random."
        )
    parts = []
    for trust in PARTS:
        if names := [GROUPS[found.group] for found in groups if found.trust == trust]:
            parts.append(f"{trust} against {_listed(names)}")
    found = "; ".join(parts) or MISSING
    misses = " It misses most stolen models." if accused.value < 0.5 else ""
    return f"{question} {found[0].upper()}{found[1:]}.{misses}{_without_uap(report)}"


def _without_uap(report: EvaluationReport) -> str:
    """Said first where verdicts are by UAPs and a reference does as well against independent models."""
    compared = compare_references(report, "homologous") if report.decided_by.startswith("uap") else {}
    equal = [REFERENCE_WORDS[method] for method, found in compared.items() if found == "as good"]
    return f" Against independent models {_listed(equal)} do as well as UAPs." if equal else ""


def _power(report: EvaluationReport) -> Sentence:
    begin = f"How many stolen models does it accuse at {_alpha(report)}?"
    if not can_decide(report):
        return Sentence(begin, f"By {report.decided_by}: {MISSING}.")
    hard = power(report)
    soft = accused_share(report, report.power.by_role.get("soft_piracy", math.nan), "soft_piracy")
    others = "" if math.isnan(soft.value) else f", {soft} of those stolen by soft labels ({soft.n})"
    return Sentence(
        begin,
        f"By {report.decided_by}, which decides, {hard} of those stolen by hard labels ({hard.n} tested){others}. Here "
        f"and below: mean over {report.n_resamples} resamples, 95 % interval for the models that one of them tests.",
    )


def _group(report: EvaluationReport, found: GroupTrust) -> Sentence:
    """One group of negatives: the verdict on it, and every number that it rests on."""
    begin = f"Against {GROUPS[found.group]}: {found.trust}."
    if found.auc is None:
        return Sentence(begin)
    words = []
    if not math.isnan(found.accused.value):
        above = ", above alpha" if found.accused.exceeds(report.false_accusation.alpha) else ""
        n = found.accused.victims
        of_victims = "" if n is None else f" of {n} victim{'s' if n != 1 else ''}"
        counts = f"{found.accused.n} tested{of_victims}, {found.calibrating or 'none'} for calibration"
        words.append(f"{found.accused} accused{above} ({counts})")
    words.append(f"AUC {_auc(found.auc)}" + (", which reaches chance" if reaches_chance(found.auc) else ""))
    better = better_method(report, found.group) if found.trust in ("no", "doubtful") else ""
    if better:
        area = _area(report, better, found.group)
        words.append(f"largest of {len(report.auc_detail)} methods, picked afterwards: {better} {area}")
    return Sentence(begin, f"{'; '.join(words)}.")


def _needs_uap(report: EvaluationReport) -> Sentence:
    """Whether references without UAPs do as well as `uap`, on points of PROBE where that is known."""
    begin = "Is it the UAP that tells stolen models apart?"
    method = lineage_method(report, "homologous")
    compared, ours = compare_references(report, "homologous"), auc_of(report, method, "homologous")
    if ours is None or not compared:
        return Sentence(begin, f"Random vectors, unperturbed images and local perturbations: {MISSING}.")
    found = set(compared.values())
    shown_worse = len(compared) == len(REFERENCES) and found == {"worse"}
    verdict = "No" if "as good" in found else "Yes" if shown_worse else "Not shown"
    shown = [
        f"{REFERENCE_WORDS[method]} {_shown(reference_auc(report, method, 'homologous'))} ({compared[method]})"
        if method in compared
        else f"{REFERENCE_WORDS[method]} {MISSING}"
        for method in REFERENCES
    ]
    where = "" if method == "uap" else "On images that nothing trained on, a"
    text = f"{where or 'A'}gainst independent models AUC {_auc(ours)} by {method}, {_listed(shown)}."
    return Sentence(f"{begin} {verdict}.", f"{text}{_elsewhere(report)}")


def _elsewhere(report: EvaluationReport) -> str:
    """In how many of the other groups a reference does as well as `uap`."""
    others = [found for g in NEGATIVE_GROUPS if g != "homologous" and (found := compare_references(report, g))]
    counts = {method: [found[method] == "as good" for found in others if method in found] for method in REFERENCES}
    equal = [f"{REFERENCE_WORDS[m]} in {sum(found)} of {len(found)}" for m, found in counts.items() if any(found)]
    return f" In the other groups as good: {_listed(equal)}." if equal else ""


def _modified(report: EvaluationReport) -> list[Sentence]:
    """Models made of others: counts of resample 0 without an interval, for many have one parent."""
    words = {"modified_piracy": "stolen models", "modified_homologous": "independent models"}
    counts = []
    for role, name in words.items():
        claims = [verdict.claim == "piracy" for verdict in report.verdicts if verdict.role == role]
        counts += [f"{sum(claims)} of {len(claims)} {name}"] if claims else []
    if not counts or not can_decide(report):
        return []
    return [Sentence("Accused after fine-tuning, pruning and other modifications:", f"{_listed(counts)} (resample 0).")]


def _unseen_kinds(report: EvaluationReport) -> Sentence:
    """Independent models of an architecture or optimizer that calibration has never seen."""
    found = report.false_accusation
    rates = {f"architecture {name}": rate for name, rate in found.architecture_left_out.items()}
    rates |= {f"optimizer {name}": rate for name, rate in found.optimizer_left_out.items()}
    known = {name: rate for name, rate in rates.items() if not math.isnan(rate)}
    begin = "Independent models of an architecture or optimizer that calibration has not seen:"
    if not known:
        return Sentence(begin, f"{MISSING}.")
    worst = max(known, key=lambda name: known[name])
    above = ", above alpha" if known[worst] > found.alpha + 1e-9 else ""
    return Sentence(begin, f"up to {percent(known[worst])} accused{above} ({worst}; no interval).")


def _setting(report: EvaluationReport) -> Sentence:
    failed = report.models.failed if report.models else len(report.failures)
    lost = f"; {failed} models could not be made" if failed else ""
    return Sentence(
        "All this is for one victim:",
        f"{report.data.name}, seed {report.seed}, architecture {report.victim.architecture}, accuracy "
        f"{report.victim.accuracy:.2f}{lost}. Other victims or data may give another answer.",
    )


def _methods(report: EvaluationReport) -> tuple[MethodRow, ...]:
    best = [best_method(report, group) for group in NEGATIVE_GROUPS]
    order = dict.fromkeys((report.decided_by, *best, *TABLE_ORDER, *sorted(report.auc_detail)))
    names = [method for method in order if method in report.auc_detail][:MOST]
    return tuple(
        MethodRow(
            name,
            {group: area for group in NEGATIVE_GROUPS if (area := auc_of(report, name, group)) is not None},
        )
        for name in names
    )


def _area(report: EvaluationReport, method: str, group: Group) -> str:
    return _shown(auc_of(report, method, group))


def _shown(area: Estimate | None) -> str:
    return NOT_MEASURED if area is None else _auc(area)


def _auc(area: Estimate) -> str:
    return interval(area.mean, area.low, area.high)


def _alpha(report: EvaluationReport) -> str:
    return f"alpha {report.false_accusation.alpha:g}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
