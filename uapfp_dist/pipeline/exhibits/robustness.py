"""Figure 8 and what it costs the attacker: models after every modification."""

import pandas as pd

from uapfp_dist.pipeline.exhibits.evidence import Evidence, Exhibit
from uapfp_dist.science import figures
from uapfp_dist.specs import AdversarialTraining, Modified
from uapfp_dist.types import Member

UNMODIFIED = "unmodified"


def modifications(evidence: Evidence) -> Exhibit | None:
    """Figure 8 left, for piracy, homologous and victim models, with the utility before and after."""
    table = _before_and_after(evidence, evidence.per_model(evidence.paper), adversarial=False)
    if table.empty:
        return None
    chosen = _before_and_after(evidence, evidence.per_model(evidence.chosen), adversarial=False)
    summary = _summary(table).merge(
        _summary(chosen)[["modification", "role", "similarity", "accused"]],
        on=["modification", "role"], how="left", suffixes=("", "_chosen"),
    )  # fmt: skip
    return Exhibit(
        "fig8_modifications",
        "Figure 8 left: fine-tuned, pruned, INT8 and distilled models",
        "Similarity of a model before and after each modification. The paper's one UAP on probabilities, and `uap` "
        "with norm and format chosen (columns `chosen`). `accused` is the share of (model, draw) pairs in which the "
        f"conformal decision claims piracy at alpha {evidence.alpha:g}. The paper: all modified piracy models stay "
        f"above .88. Accuracy is measured on EVAL. {evidence.setting}.",
        {"modifications": summary, "modified_models": table},
        {
            "fig8_left_modifications": figures.fig8_modifications(table),
            "utility_similarity": figures.utility_similarity(table),
        },
        {"modifications": summary.to_dict("records")},
    )


def adversarial(evidence: Evidence) -> Exhibit | None:
    """Figure 8 right: similarity along adversarial training, piracy and homologous under the same attack."""
    table = _stops(evidence, evidence.per_model(evidence.paper))
    if table.empty:
        return None
    chosen = _stops(evidence, evidence.per_model(evidence.chosen))
    keys = ["iterations", "labels", "role"]
    numbers = ["similarity", "accused", "accuracy"]
    summary = table.groupby(keys)[numbers].mean().reset_index()
    extra = chosen.groupby(keys)[["similarity", "accused"]].mean().add_suffix("_chosen").reset_index()
    summary = summary.merge(extra, on=keys, how="left")
    summary["models"] = table.groupby(keys).size().to_numpy()
    return Exhibit(
        "fig8_adversarial",
        "Figure 8 right: adversarial training",
        "Each iteration trains on 128 DeepFool examples of the current model and 128 clean images, labelled by the "
        "attacker's own model before the attack (own) or truly (true). The paper: similarity .99 falls to .89 past 120 "
        f"iterations; at 270 the gap is gone, at .17 of the utility. {evidence.setting}.",
        {"adversarial": summary},
        {"fig8_right_adversarial": figures.fig8_adversarial(table)},
        {"adversarial": summary.to_dict("records")},
    )


def _before_and_after(evidence: Evidence, models: pd.DataFrame, *, adversarial: bool) -> pd.DataFrame:
    """Modified models, and the models they were made from as `unmodified`; one row per model."""
    members = {m.spec.id: m for m in evidence.panelists.members}
    modified = models[models["role"].str.startswith("modified_")]
    wanted = modified["model"].map(lambda model: _is_adversarial(members[model]) == adversarial)
    modified = modified[wanted.astype(bool)]
    before = models[models["model"].isin(modified["base"])].assign(change=UNMODIFIED)
    table = pd.concat([before, modified])
    role = table["role"].str.removeprefix("modified_")
    return table.assign(role=role, modification=table["change"]).drop(columns=["change", "p_value"])


def _is_adversarial(member: Member) -> bool:
    return any(isinstance(change, AdversarialTraining) for change in member.spec.changes)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over models by modification and role, in the order of the plan."""
    grouped = table.groupby(["modification", "role"], sort=False)
    means = grouped[["similarity", "accused", "accuracy"]].mean()
    means["lowest_similarity"] = grouped["similarity"].min()
    means["models"] = grouped.size()
    return means.reset_index()


def _stops(evidence: Evidence, models: pd.DataFrame) -> pd.DataFrame:
    """A row per model and stop of its adversarial training; the start counts for every kind of labels."""
    members = {m.spec.id: m for m in evidence.panelists.members}
    table = _before_and_after(evidence, models, adversarial=True)
    rows = []
    every_label = sorted({labels for m in members.values() if _is_adversarial(m) for labels in [_last(m).labels]})
    for record in table.to_dict("records"):
        if record["modification"] == UNMODIFIED:
            rows += [{**record, "iterations": 0, "labels": labels} for labels in every_label]
        else:
            change = _last(members[record["model"]])
            rows.append({**record, "iterations": change.start + change.iterations, "labels": change.labels})
    return pd.DataFrame(rows)


def _last(member: Member) -> AdversarialTraining:
    assert isinstance(member.spec.origin, Modified)
    change = member.spec.origin.change
    assert isinstance(change, AdversarialTraining)
    return change
