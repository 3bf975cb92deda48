"""The answer of a report in plain words: can this fingerprint be trusted here, and against whom not?

Every sentence follows from the numbers of the report by the rules of `reporting.trust`, and carries them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from uapfp_dist.evaluation.judging import NEGATIVE_GROUPS, Group
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.reporting.number_format import NOT_MEASURED, interval, percent
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.text_tables import markdown_table
from uapfp_dist.reporting.trust import (
    CHANCE,
    REFERENCES,
    GroupTrust,
    Trust,
    accused_share,
    auc_of,
    better_method,
    can_decide,
    compare_references,
    group_trust,
    power,
)
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.statistics.conformal import CANNOT_DECIDE

MOST = 8
"""Methods in the table."""
TABLE_ORDER = (
    "uap", "uap_paper", "random", "clean", "weighted_errors", "weighted_churn", "churn", "ipguard", "lap", "confidence",
)  # fmt: skip
"""Of the table, after the method that decides; whatever else was compared comes last."""
GROUP_WORDS: Mapping[Group, str] = {
    "homologous": "independent models",
    "other_victim": "models stolen from another victim",
    "same_data": "independent models trained on the victim's images",
    "sibling": "models stolen from a sibling of the victim",
}
COLUMNS: Mapping[Group, str] = {
    "homologous": "independent",
    "other_victim": "of another victim",
    "same_data": "same images",
    "sibling": "of a sibling",
}
"""Of the table."""
REFERENCE_WORDS = {"random": "random vectors", "clean": "unperturbed images"}
MISSING = "not measured here"
PARTS: tuple[Trust, ...] = ("yes", "no", "doubtful", "too few models to tell")
"""Of the first sentence, in this order."""


@dataclass(frozen=True)
class MethodRow:
    """A method of the table."""

    method: str
    about: str
    auc: Mapping[Group, Estimate]
    """Of stolen models against a group of negatives, where it was measured."""


@dataclass(frozen=True)
class Answer:
    """What a reader of two minutes takes home."""

    sentences: tuple[str, ...]
    """Plain text; the first one is the answer, those after it the numbers that it rests on."""
    methods: tuple[MethodRow, ...]
    """At most `MOST`, the one that decides first."""
    caption: str
    """Of the table of methods."""

    def table(self) -> pd.DataFrame:
        """Columns `method`, one per group of negatives with `AUC [low, high]`, and `about`."""
        groups = [group for group in COLUMNS if any(group in row.auc for row in self.methods)]
        rows = [
            {
                "method": row.method,
                **{COLUMNS[g]: _auc(row.auc[g]) if g in row.auc else NOT_MEASURED for g in groups},
                "about": row.about,
            }
            for row in self.methods
        ]
        return pd.DataFrame(rows)

    def markdown(self) -> str:
        """The sentences and the table as Markdown, without a heading."""
        first, *others = self.sentences
        listed = "\n".join(f"- {sentence}" for sentence in others)
        return f"**{first}**\n\n{listed}\n\n{self.caption}:\n\n{markdown_table(self.table())}\n"


def answer(report: EvaluationReport) -> Answer:
    """The answer, from the numbers of a report alone, also of one by earlier code."""
    groups = [group_trust(report, group) for group in NEGATIVE_GROUPS]
    sentences = [_headline(report, groups), _power(report), *(_group(report, found) for found in groups)]
    sentences += [_needs_uap(report), _unseen_kinds(report), *_modified(report), _setting(report)]
    rows = _methods(report)
    n = len(report.auc_detail)
    caption = (
        f"AUC of stolen models against each group of negatives, mean over {report.n_resamples} resamples and 95 % "
        f"interval over models. {f'{len(rows)} of {n} methods' if n > len(rows) else 'All methods'}; "
        f"{report.decided_by} decides"
    )
    return Answer(tuple(sentences), rows, caption)


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
        if names := [GROUP_WORDS[found.group] for found in groups if found.trust == trust]:
            parts.append(f"{trust} against {_listed(names)}")
    found = "; ".join(parts) or MISSING
    misses = " It misses most stolen models." if accused.value < 0.5 else ""
    return f"{question} {found[0].upper()}{found[1:]}.{misses}{_without_uap(report)}"


def _without_uap(report: EvaluationReport) -> str:
    """Said first where verdicts are by UAPs and a reference does as well against independent models."""
    compared = compare_references(report, "homologous") if report.decided_by.startswith("uap") else {}
    equal = [REFERENCE_WORDS[method] for method, found in compared.items() if found == "as good"]
    return f" Against independent models {_listed(equal)} do as well as UAPs." if equal else ""


def _power(report: EvaluationReport) -> str:
    if not can_decide(report):
        return f"Share of stolen models that {report.decided_by} accuses at {_alpha(report)}: {MISSING}."
    hard = power(report)
    soft = accused_share(report, report.power.by_role.get("soft_piracy", math.nan), "soft_piracy")
    others = "" if math.isnan(soft.value) else f" and {soft} of those stolen by soft labels ({soft.n})"
    return (
        f"{report.decided_by} decides. At {_alpha(report)} it accuses {hard} of the models stolen by hard labels "
        f"({hard.n} tested){others}: mean over {report.n_resamples} resamples, 95 % interval for the models that one "
        "of them tests."
    )


def _group(report: EvaluationReport, found: GroupTrust) -> str:
    """One group of negatives: the verdict on it, and every number that it rests on."""
    begin = f"Against {GROUP_WORDS[found.group]}: {found.trust}"
    if found.auc is None:
        return f"{begin}."
    words = []
    if not math.isnan(found.accused.value):
        side = "above" if found.accused.exceeds(report.false_accusation.alpha) else "not above"
        counts = f"{found.accused.n} tested, {found.calibrating or 'none'} for calibration"
        words.append(f"{found.accused} accused ({counts}), {side} alpha")
    words.append(f"AUC {_auc(found.auc)}" + (", which reaches chance" if found.auc.low <= CHANCE else ""))
    better = better_method(report, found.group) if found.trust in ("no", "doubtful") else ""
    if better:
        area = _area(report, better, found.group)
        words.append(f"largest of {len(report.auc_detail)} methods, picked afterwards: {better} {area}")
    return f"{begin}. {'; '.join(words)}."


def _needs_uap(report: EvaluationReport) -> str:
    """Whether references without UAPs do as well as `uap`."""
    begin = "Is it the UAP that tells stolen models apart?"
    compared, ours = compare_references(report, "homologous"), auc_of(report, "uap", "homologous")
    if ours is None or not compared:
        return f"{begin} Random vectors and unperturbed images: {MISSING}."
    found = set(compared.values())
    verdict = "No" if "as good" in found else "Not shown" if "not told apart" in found else "Yes"
    shown = [
        f"{REFERENCE_WORDS[method]} {_area(report, method, 'homologous')} ({compared[method]})"
        if method in compared
        else f"{REFERENCE_WORDS[method]} {MISSING}"
        for method in REFERENCES
    ]
    text = f"{begin} {verdict}: against independent models AUC {_auc(ours)} by uap, {_listed(shown)}."
    equal = [words for group in NEGATIVE_GROUPS if group != "homologous" and (words := _as_good(report, group))]
    return f"{text} As good also against {_listed(equal)}." if equal else text


def _as_good(report: EvaluationReport, group: Group) -> str:
    """A group and the references that do as well as `uap` against it; nothing where none does."""
    compared = compare_references(report, group)
    equal = [REFERENCE_WORDS[method] for method, found in compared.items() if found == "as good"]
    return f"{GROUP_WORDS[group]} ({', '.join(equal)})" if equal else ""


def _modified(report: EvaluationReport) -> list[str]:
    """Models of which others were made: counts of resample 0 without an interval, for many have one parent."""
    words = {"modified_piracy": "stolen models", "modified_homologous": "independent models"}
    counts = []
    for role, name in words.items():
        claims = [verdict.claim == "piracy" for verdict in report.verdicts if verdict.role == role]
        counts += [f"{sum(claims)} of {len(claims)} {name}"] if claims else []
    return [f"Accused after fine-tuning, pruning and the like (resample 0): {_listed(counts)}."] if counts else []


def _unseen_kinds(report: EvaluationReport) -> str:
    """Independent models of an architecture or optimizer that calibration has never seen."""
    found = report.false_accusation
    rates = {f"architecture {name}": rate for name, rate in found.architecture_left_out.items()}
    rates |= {f"optimizer {name}": rate for name, rate in found.optimizer_left_out.items()}
    known = {name: rate for name, rate in rates.items() if not math.isnan(rate)}
    begin = "Independent models of an architecture or optimizer that calibration has not seen"
    if not known:
        return f"{begin}: {MISSING}."
    worst = max(known, key=lambda name: known[name])
    side = "above" if known[worst] > found.alpha + 1e-9 else "not above"
    return f"{begin}: up to {percent(known[worst])} accused ({worst}), {side} alpha; no interval."


def _setting(report: EvaluationReport) -> str:
    failed = report.models.failed if report.models else len(report.failures)
    lost = f"; {failed} models could not be made" if failed else ""
    return (
        f"All of it on {report.data.name}, seed {report.seed}, with one victim (architecture "
        f"{report.victim.architecture}, accuracy {report.victim.accuracy:.2f}){lost}. Another victim or other data may "
        "give another answer."
    )


def _methods(report: EvaluationReport) -> tuple[MethodRow, ...]:
    order = dict.fromkeys((report.decided_by, *TABLE_ORDER, *report.auc_detail))
    names = [method for method in order if method in report.auc_detail][:MOST]
    return tuple(
        MethodRow(
            name,
            METHODS[name].description if name in METHODS else "",
            {group: area for group in NEGATIVE_GROUPS if (area := auc_of(report, name, group)) is not None},
        )
        for name in names
    )


def _area(report: EvaluationReport, method: str, group: Group) -> str:
    area = auc_of(report, method, group)
    return NOT_MEASURED if area is None else _auc(area)


def _auc(area: Estimate) -> str:
    return interval(area.mean, area.low, area.high)


def _alpha(report: EvaluationReport) -> str:
    return f"alpha {report.false_accusation.alpha:g}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
