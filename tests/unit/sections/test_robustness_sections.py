"""What a report says of modified models: each beside its original, destroyed ones too."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from everything import Shown, everything
from random_scores import report_data
from system import tiny_plan

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.reporting.sections.recovery_methods import IN_PROBABILITIES
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.reporting.sections.robustness import destroyed_models, modifications
from uapfp_dist.tasks.members import Member

COMPARED = ("uap", "uap_paper", "weighted_errors")
NAN_RESPONSES = "NotFiniteError: answers: expected numbers, got NaN or infinity for 3 of 9 images"


def failing(plan: Plan, member: Member, error: str) -> SimpleNamespace:
    """A report whose only failure are the responses of one model."""
    return SimpleNamespace(failures=(SimpleNamespace(id=plan.response(member).id, error=error),))


def card_of(member: Member) -> SimpleNamespace:
    """The card of a modified model."""
    names = tuple(modification.description for modification in member.spec.modifications)
    return SimpleNamespace(modifications=names, accuracy_before=0.9, accuracy=0.1, recovery=0.5)


@pytest.mark.slow
def test_every_modification_stands_beside_its_unmodified_model(shown: Shown) -> None:
    """With accuracy and similarity, for piracy, homologous and victim models."""
    table = pd.read_csv(shown.folder / "tables" / "modifications.csv")
    expected = {"unmodified", "fine-tune", "fine-tune last layer", "prune .4", "INT8", "distillation"}
    for role in ("piracy", "homologous", "victim"):
        mine = table[table["role"] == role]
        assert expected - ({"unmodified"} if role == "victim" else set()) <= set(mine["modification"]), role
        assert mine["accuracy"].between(0, 1).all()
        assert mine["accuracy_before"].between(0, 1).all()
        same = mine[mine["modification"] == "unmodified"]
        assert (same["accuracy"] == same["accuracy_before"]).all()
    stops = pd.read_csv(shown.folder / "tables" / "adversarial.csv")
    assert set(stops["iterations"]) == {0, 1, 2}
    assert set(stops["labels"]) == {"own", "true"}


def test_a_modification_that_destroys_a_model_is_reported_with_its_utility() -> None:
    """A model whose responses are NaN has no similarity, and is not left out for that."""
    plan = tiny_plan(everything())
    lost = next(m for m in plan.judged if m.role == "modified_piracy")
    card = SimpleNamespace(modifications=("prune .4",), accuracy_before=0.9, accuracy=0.1)
    data = SimpleNamespace(plan=plan, cards={lost.spec.id: card}, report=failing(plan, lost, NAN_RESPONSES))
    data.judged = SimpleNamespace(members=[m for m in plan.judged if m != lost])
    (row,) = destroyed_models(cast(ReportData, data)).to_dict("records")
    expected = {"role": "piracy", "modification": "prune .4", "accuracy_before": 0.9, "accuracy": 0.1}
    assert row == {"model": lost.spec.id, **expected}
    data.report = failing(plan, lost, "OutOfMemoryError: cannot allocate memory (pool.py:7)")
    assert destroyed_models(cast(ReportData, data)).empty, "it could not be queried: nothing is known of its responses"
    data.report = failing(plan, lost, NAN_RESPONSES)
    data.judged.members.append(lost)
    assert destroyed_models(cast(ReportData, data)).empty


def test_destroyed_models_are_shown_where_nothing_else_is() -> None:
    """Of two modified models that were made one gives NaN and one could not be queried; the others failed."""
    plan = tiny_plan(everything())
    destroyed, unasked = [m for m in plan.judged if m.role == "modified_piracy"][:2]
    judged = tuple(m for m in plan.judged if not m.role.startswith("modified_"))
    shown = report_data(replace(plan, members=judged), VerdictConfig(n_train=2, n_calibrate=1, alpha=0.5), COMPARED)
    failed = replace(shown.report, failures=failing(plan, destroyed, NAN_RESPONSES).failures)  # type: ignore[arg-type]
    made = {**shown.cards, **{m.spec.id: card_of(m) for m in (destroyed, unasked)}}
    everyone = replace(shown.plan, members=plan.members)
    section = modifications(replace(shown, plan=everyone, cards=made, report=failed))  # type: ignore[arg-type]
    assert section is not None
    assert section.tables["destroyed_models"]["model"].to_list() == [destroyed.spec.id]
    assert [row.model for row in section.numbers.destroyed or ()] == [destroyed.spec.id]
    assert "among the failures: 1." in section.text
    assert modifications(shown) is None


@pytest.mark.slow
def test_the_last_look_at_adversarial_training_stands_among_the_modifications(shown: Shown) -> None:
    """Of each kind of labels, with the numbers that its own table has; what came before it does not."""
    table, stops = (pd.read_csv(shown.folder / "tables" / f"{name}.csv") for name in ("modifications", "adversarial"))
    hardened = table[table["modification"].str.startswith("adversarial training")]
    assert set(hardened["modification"]) == {f"adversarial training 2 ({labels} labels)" for labels in ("own", "true")}
    assert set(hardened["role"]) == {"piracy", "homologous"}
    for row in hardened.to_dict("records"):
        labels = "own" if "own" in row["modification"] else "true"
        (stop,) = stops[
            (stops["iterations"] == 2) & (stops["labels"] == labels) & (stops["role"] == row["role"])
        ].to_dict("records")
        for name in ("similarity", "similarity_chosen", "accuracy", "models"):
            assert row[name] == pytest.approx(stop[name]), name


@pytest.mark.slow
def test_means_over_models_have_an_interval_where_there_are_several(shown: Shown) -> None:
    for name in ("modifications", "adversarial", "recovery", "overlap"):
        table = pd.read_csv(shown.folder / "tables" / f"{name}.csv")
        independent = table["extractions" if "extractions" in table else "models"]
        several, single = table[independent > 1], table[independent == 1]
        within = several["similarity"].between(several["similarity_low"] - 1e-9, several["similarity_high"] + 1e-9)
        assert within.all(), name
        assert single["similarity_low"].isna().all(), name
    subspace = shown.report.body.sections.subspace
    assert subspace is not None
    assert subspace.rank > 0
    for name in ("n_points", "top_k", "n_views", "loss", "view_algorithms"):
        table = pd.read_csv(shown.folder / "tables" / f"{name}.csv")
        assert table["gap"].between(table["gap_low"] - 1e-9, table["gap_high"] + 1e-9).all(), name


@pytest.mark.slow
def test_finished_copies_have_the_numbers_of_the_table_of_all_methods(shown: Shown) -> None:
    """Those by probabilities of some. Copies that were stopped stand at their level or above."""
    rows = shown.report.body.sections.recovery_methods
    assert rows is not None
    finished = {row.method: row for row in rows if math.isnan(row.level)}
    assert finished.keys() == shown.report.body.auc_detail.keys()
    for method, row in finished.items():
        wanted = shown.report.body.auc_detail[method]["prob" if method in IN_PROBABILITIES else "chosen"]["homologous"]
        assert row.auc_homologous == pytest.approx(wanted.mean), method
        assert row.auc_homologous_low == pytest.approx(wanted.low, nan_ok=True), method
    stopped = [row for row in rows if not math.isnan(row.level)]
    assert stopped
    assert all(row.recovery >= row.level - 0.2 for row in stopped), "measured on 1,000 images, shown on EVAL"


@pytest.mark.slow
def test_no_model_is_judged_by_an_encoder_that_trained_on_its_original(shown: Shown) -> None:
    """A modified model is tested where the model it was made from is."""
    table = pd.read_csv(shown.folder / "tables" / "modified_models.csv")
    tested = {verdict.model for verdict in shown.report.body.verdicts}
    modified = [m for m in shown.plan.members if m.spec.modifications and m.spec.id in tested]
    assert modified
    victim = shown.plan.members[0].spec.id
    assert all(m.spec.root.id in tested or m.spec.root.id == victim for m in modified)
    assert set(table["base"]) <= {m.spec.id for m in shown.plan.members}
