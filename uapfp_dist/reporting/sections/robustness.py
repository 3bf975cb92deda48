"""Models after every modification: Figure 8, with what it costs in accuracy."""

from collections.abc import Callable

import pandas as pd

from uapfp_dist.models.blackbox import NotFiniteError
from uapfp_dist.modifications.int8 import BITS
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.section_schema import (
    AdversarialGroup,
    DestroyedModel,
    ModifiedGroup,
    SectionNumbers,
    rows_of,
)
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.modification_specs import AdversarialTraining
from uapfp_dist.tasks.specs import Modified

UNMODIFIED = "unmodified"
_NAME_AND_TITLE = ("fig8_modifications", "Figure 8 left: fine-tuned, pruned, INT8 and distilled models")


def modifications(data: ReportData) -> ReportSection | None:
    """Figure 8 left, for stolen, independent and victim models, with the utility before and after."""
    table, destroyed = _variants(data, data.per_model(data.paper)), destroyed_models(data)
    if table.empty:
        return _none_judged(data, destroyed)
    keys = ["modification", "role"]
    chosen = _variants(data, data.per_model(data.chosen))
    summary = over_models(table, keys, ["similarity", "accused", "accuracy", "accuracy_before"], ["similarity"])
    lowest = table.groupby(keys)["similarity"].min().rename("lowest_similarity").reset_index()
    summary = summary.merge(lowest, on=keys).merge(_of_chosen(chosen, keys), on=keys, how="left")
    left = table[~table["modification"].str.startswith("adversarial training")]
    return ReportSection(
        *_NAME_AND_TITLE,
        "Similarity of a model before and after each modification, by "
        f"{data.paper_scoring.words}, and by `uap`, norms averaged and the format chosen (columns `chosen`), with a "
        "95 % bootstrap interval over models. "
        "`accused` is the share of (model, resample) pairs in which the conformal decision on those scores claims "
        f"piracy at alpha {data.alpha:g}. The paper: all stolen models stay above .88 after fine-tuning, pruning and "
        "INT8; what else is shown, it did not try. Accuracy, and that of the same models before, is measured on EVAL. "
        f"{BITS} {_not_judged(data, destroyed)}"
        "Of adversarial training the last stop with each kind of labels stands beside the others; Figure 8 right has "
        f"its course. {data.setting}.",
        {"modifications": summary, "modified_models": table, **_tables(destroyed)},
        {
            "fig8_left_modifications": figures.fig8_modifications(left),
            "utility_similarity": figures.utility_similarity(table),
        },
        SectionNumbers(modifications=rows_of(ModifiedGroup, summary), destroyed=rows_of(DestroyedModel, destroyed)),
    )


def _none_judged(data: ReportData, destroyed: pd.DataFrame) -> ReportSection | None:
    """The section where no modified model has a similarity: those destroyed, what else was made; None without any."""
    if not (why := _not_judged(data, destroyed)):
        return None
    text = f"No modified model could be judged. {why}Accuracy is measured on EVAL. {data.setting}."
    numbers = SectionNumbers(destroyed=rows_of(DestroyedModel, destroyed))
    return ReportSection(*_NAME_AND_TITLE, text, _tables(destroyed), numbers=numbers)


def _not_judged(data: ReportData, destroyed: pd.DataFrame) -> str:
    """What is said of modified models without a similarity; empty where all have one."""
    words = "" if destroyed.empty else "Models whose responses are NaN or infinite stand in a table of their own. "
    if others := len(_made_but_not_judged(data)) - len(destroyed):
        words += f"Modified models made but not judged, for other reasons, which stand among the failures: {others}. "
    return words


def adversarial(data: ReportData) -> ReportSection | None:
    """Figure 8 right: similarity along adversarial training, stolen and independent under the same attack."""
    table = _stops(data, data.per_model(data.paper))
    if table.empty:
        return None
    chosen = _stops(data, data.per_model(data.chosen))
    keys = ["iterations", "labels", "role"]
    numbers = ["similarity", "accused", "accuracy"]
    summary = over_models(table.sort_values(keys, kind="stable"), keys, numbers, ["similarity"])
    summary = summary.merge(_of_chosen(chosen, keys), on=keys, how="left")
    return ReportSection(
        "fig8_adversarial",
        "Figure 8 right: adversarial training",
        "Each iteration trains on 128 DeepFool examples of the current model and 128 clean images, labelled by the "
        "attacker's own model before the attack (own) or truly (true). The paper: similarity .99 falls to .89 past 120 "
        "iterations; at 270 the gap is gone, at a loss of .17 in accuracy. Similarity is by "
        f"{data.paper_scoring.words}, in columns `chosen` by `uap`. Intervals: 95 % bootstrap over models. "
        f"{data.setting}.",
        {"adversarial": summary},
        {"fig8_right_adversarial": figures.fig8_adversarial(table)},
        SectionNumbers(adversarial=rows_of(AdversarialGroup, summary)),
    )


def destroyed_models(data: ReportData) -> pd.DataFrame:
    """Modified models whose responses are NaN or infinite, so that they have no similarity, with their utility."""
    # An error's name begins its message; responses that are missing for another reason say nothing of the model.
    broken = {f.id for f in data.report.failures if f.error.startswith(f"{NotFiniteError.__name__}:")}
    rows = [
        {
            "model": member.spec.id,
            "role": member.role.removeprefix("modified_"),
            "modification": " + ".join(card.modifications),
            "accuracy_before": card.accuracy_before,
            "accuracy": card.accuracy,
        }
        for member, card in _made_but_not_judged(data)
        if any(spec.id in broken for spec in data.plan.responses(member))
    ]
    return pd.DataFrame(rows, columns=["model", "role", "modification", "accuracy_before", "accuracy"])


def _made_but_not_judged(data: ReportData) -> list[tuple[Member, ModelCard]]:
    """Modified models that lack some of their responses, with their cards."""
    judged = {member.spec.id for member in data.judged.members}
    lost = [m for m in data.plan.judged if m.role.startswith("modified_") and m.spec.id not in judged]
    return [(member, card) for member in lost if (card := data.cards.get(member.spec.id)) is not None]


def _tables(destroyed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {} if destroyed.empty else {"destroyed_models": destroyed}


def of_the_paper(modification: str) -> bool:
    """Whether Figure 8 left of the paper has it: fine-tuning of all layers, pruning without recovery, INT8, alone."""
    return modification in ("fine-tune", "INT8") or (modification.startswith("prune ") and "+" not in modification)


def _variants(data: ReportData, models: pd.DataFrame) -> pd.DataFrame:
    """Models before and after every modification; of adversarial training the last stop with each kind of labels."""
    table = _before_and_after(data, models, lambda member: not _is_adversarial(member))
    stops = _stops(data, models)
    if stops.empty:
        return _with_utility(data, table)
    before = stops[(stops["iterations"] == 0) & ~stops["model"].isin(table["model"])].drop_duplicates("model")
    last = stops[stops["iterations"] > 0].sort_values("iterations", kind="stable").groupby(["base", "labels"]).tail(1)
    names = [
        AdversarialTraining(n, labels=labels).description
        for n, labels in zip(last["iterations"], last["labels"], strict=True)
    ]
    whole = pd.concat([table, before, last.assign(modification=names)]).drop(columns=["iterations", "labels"])
    return _with_utility(data, whole)


def _with_utility(data: ReportData, table: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of what was modified, the victim's too, as `accuracy_before`; of others their own."""
    known = {m.spec.id: a for m, a in zip(data.judged.members, data.judged.accuracy, strict=True)}
    base = table["base"].where(table["modification"] != UNMODIFIED, table["model"])
    return table.assign(accuracy_before=base.map(known))


def _of_chosen(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means by `keys` as columns `<x>_chosen`: `table` holds the scores of `uap`."""
    named = table.rename(columns={"similarity": "similarity_chosen", "accused": "accused_chosen"})
    found = over_models(named, keys, ["similarity_chosen", "accused_chosen"], ["similarity_chosen"])
    return found.drop(columns="models")


def _before_and_after(data: ReportData, models: pd.DataFrame, wanted: Callable[[Member], bool]) -> pd.DataFrame:
    """Modified models, and the models they were made from as `unmodified`; one row per model."""
    members = {m.spec.id: m for m in data.judged.members}
    modified = models[models["role"].str.startswith("modified_")]
    modified = modified[modified["model"].map(lambda model: wanted(members[model])).astype(bool)]
    before = models[models["model"].isin(modified["base"])].assign(change=UNMODIFIED)
    table = pd.concat([before, modified])
    role = table["role"].str.removeprefix("modified_")
    return table.assign(role=role, modification=table["change"]).drop(columns=["change", "p_value"])


def _is_adversarial(member: Member) -> bool:
    return any(isinstance(modification, AdversarialTraining) for modification in member.spec.modifications)


def _stops(data: ReportData, models: pd.DataFrame) -> pd.DataFrame:
    """A row per model and stop of its adversarial training; the start counts for every kind of labels."""
    members = {m.spec.id: m for m in data.judged.members}
    table = _before_and_after(data, models, _is_adversarial)
    rows = []
    every_label = sorted({labels for m in members.values() if _is_adversarial(m) for labels in [_last(m).labels]})
    for record in table.to_dict("records"):
        if record["modification"] == UNMODIFIED:
            rows += [{**record, "iterations": 0, "labels": labels} for labels in every_label]
        else:
            member = members[record["model"]]
            rows.append({**record, "iterations": _iterations(member), "labels": _last(member).labels})
    return pd.DataFrame(rows)


def _last(member: Member) -> AdversarialTraining:
    assert isinstance(member.spec.origin, Modified)
    modification = member.spec.origin.modification
    assert isinstance(modification, AdversarialTraining)
    return modification


def _iterations(member: Member) -> int:
    """Of adversarial training, in all."""
    last = _last(member)
    return last.start + last.iterations
