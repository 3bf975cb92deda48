"""What a report says of churn and of models stolen from siblings, from one tiny evaluation that has them."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from system import Keeper, run_here, tiny_plan, tiny_with_siblings

from uapfp_dist.config.schema import ModificationConfig
from uapfp_dist.config.validation import check
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.churn_artifacts import read_churn, read_labels
from uapfp_dist.execution.pool_artifacts import read_pool_labels, read_sibling_points
from uapfp_dist.fingerprints.blocks import CHURN, BlockKey
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.over_seeds import auc_rows, decision_rows
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport, read_report, reported_groups
from uapfp_dist.reporting.sections.churn_curves import rows_at
from uapfp_dist.reporting.summary import summary
from uapfp_dist.reporting.trust import RULES
from uapfp_dist.serialization import json_schema, to_json
from uapfp_dist.storage.store import Store

COMPARED = ("churn", "weighted_churn", "churn_natural", "churn_uap", "churn_random", "uap_probe", "random_probe")


@dataclass(frozen=True)
class Shown:
    """A finished evaluation."""

    plan: Plan
    report: Report
    folder: Path
    store: Store

    def table(self, name: str) -> pd.DataFrame:
        """One of its files."""
        return pd.read_csv(self.folder / "tables" / f"{name}.csv")


@pytest.fixture(scope="module")
def shown(blank_figures: None, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """With a few modified models."""
    root, config = tmp_path_factory.mktemp("churn"), tiny_with_siblings()
    config = replace(
        config,
        verdict=replace(config.verdict, methods=COMPARED),
        zoo=replace(config.zoo, n_piracy=4),
        siblings=replace(config.siblings, exact=True),
        modifications=ModificationConfig(
            4,
            0,
            fine_tune=("last",),
            fine_tune_epochs=1.0,
            prune=(0.2,),
            distill_to=None,
            compose=False,
            n_adversarial=0,
        ),
    )
    plan, store = tiny_plan(config), Store(str(root / "storage"))
    report = run_here(plan, store, tracker=Keeper(root / "out"))
    assert report.body.failures == ()
    return Shown(plan, report, root / "out", store)


def test_the_section_is_on_the_page_and_in_the_file(shown: Shown) -> None:
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    for words in (
        RULES,
        "Churn: where the victim disagrees with its siblings",
        "one stolen from a sibling",
        "PROBE as it is",
    ):
        assert words in page
    assert {"churn_auc", "churn_images"} <= {path.stem for path in (shown.folder / "figures").glob("*.png")}
    body = json.loads((shown.folder / "report.json").read_text())
    jsonschema.validate(body, json_schema(EvaluationReport))
    assert to_json(read_report(body)) == body
    assert {"churn", "churn_pools", "siblings"} <= body["exhibits"].keys()
    assert len(body["exhibits"]["churn"]) == len(shown.table("churn"))


def test_areas_by_budget_are_those_of_the_points_that_were_sent(shown: Shown) -> None:
    """At the number of points that a suspect is sent they are the report's own; there are never more than there are."""
    table, detail = shown.table("churn"), shown.report.body.auc_detail
    points = read_churn(shown.store.get("churn", shown.plan.churn.id if shown.plan.churn else ""))
    assert set(table["method"]) <= set(COMPARED)
    assert {"churn", "weighted_churn"} <= set(table["method"])
    assert (table["images"] <= table["budget"]).all()
    for (method, _), rows in table.groupby(["method", "stolen"]):
        largest = len(points[BlockKey("churn" if method == "weighted_churn" else str(method))].images)
        assert rows["images"].tolist() == sorted({min(budget, largest) for budget in (20, 100)})
        for row in rows[(rows["images"] == min(100, largest)) & (rows["stolen"] == "unmodified")].to_dict("records"):
            for group in ("homologous", "other_victim", "same_data", "sibling"):
                e = detail[method]["chosen"][group]
                found = [row[f"auc_{group}{side}"] for side in ("", "_low", "_high")]
                assert found == pytest.approx([e.mean, e.low, e.high], nan_ok=True)
    for side in ("low", "high"):
        assert table[f"auc_all_{side}"].notna().all()


def test_churn_against_all_is_counted_from_the_labels(shown: Shown) -> None:
    """Against a loop over resamples, stolen models, negatives and points, also for modified models."""
    plan, store, config = shown.plan, shown.store, shown.plan.config.verdict
    assert plan.churn is not None
    points = read_churn(store.get("churn", plan.churn.id))[CHURN]
    shares = []
    for member in plan.judged:
        response = plan.churn_response(member)
        assert response is not None
        labels = read_labels(store.get(*response.artifact))[CHURN]
        shares.append(sum(int(a) == int(b) for a, b in zip(labels[:20], points.labels[:20], strict=True)) / 20)
    negatives = ("homologous", "other_victim_piracy", "same_data", "sibling_piracy")
    table = shown.table("churn").set_index(["method", "stolen", "budget"])
    for stolen, role in (("unmodified", "piracy"), ("modified", "modified_piracy")):
        areas = []
        for i in range(config.n_resamples):
            drawn = make_resample(plan.judged, i, config.n_train, config.n_calibrate, "0")
            wins = [
                (shares[p] > shares[n]) + 0.5 * (shares[p] == shares[n])
                for p in drawn.tested(plan.judged, role)
                for n in drawn.tested(plan.judged, *negatives)
            ]
            areas.append(sum(wins) / len(wins))
        assert table.loc[("churn", stolen, 20), "auc_all"] == pytest.approx(float(np.mean(areas)))


def test_how_many_points_there_are_and_what_they_are_made_of(shown: Shown) -> None:
    pools = shown.table("churn_points")
    assert pools["pool"].iloc[0] == "PROBE and small changes of it"
    assert pools["compared"].iloc[0] >= shown.plan.config.churn.pool_size
    assert (pools["compared"] >= pools["departures"]).all()
    assert (pools["departures"] >= pools["points"]).all()
    assert (pools["points"] <= 2 * pools["pictures"]).all()
    siblings = shown.table("siblings").set_index("who")
    assert siblings["models"].to_dict() == {"victim": 1, "committee": 3, "siblings that are stolen from": 2}
    assert (siblings["lowest_accuracy"] >= siblings["gate"]).all()
    assert siblings.loc["victim", "accuracy"] == pytest.approx(shown.report.body.victim.accuracy)


def test_models_stolen_from_siblings_are_a_group_like_the_others(shown: Shown) -> None:
    """In areas, rates, verdicts, controls, the terminal's table and the jobs' tables."""
    body = shown.report.body
    assert reported_groups(body) == ["homologous", "other_victim", "same_data", "sibling"]
    assert all("sibling" in groups for formats in body.auc.values() for groups in formats.values())
    assert "sibling" in body.false_accusation.conformal
    assert all("sibling" in verdict.not_calibrated_against for verdict in body.verdicts)
    assert {verdict.role for verdict in body.verdicts} >= {"sibling_piracy"}
    text = summary(body)
    assert "of a sibling" in text
    assert "a sibling of the victim" in " ".join(text.split())
    assert "sibling_piracy" in set(shown.table("controls")["group"])
    assert "auc_sibling" in shown.table("methods").columns
    assert "sibling" in set(shown.table("methods_at_equal_budget")["group"])


def test_tables_over_seeds_show_the_group_where_a_report_has_it(shown: Shown) -> None:
    with_siblings = shown.report.body
    areas = {
        m: {f: {g: a for g, a in row.items() if g != "sibling"} for f, row in t.items()}
        for m, t in with_siblings.auc.items()
    }
    without = replace(with_siblings, auc=areas)  # type: ignore[arg-type]
    head, _, *rows = auc_rows([with_siblings, without])
    assert head == "| method | independent | of another victim | same images | of a sibling | soft labels |"
    assert all(row.count("|") == 7 for row in rows)
    head, rule, *rows = auc_rows([without])
    assert head == "| method | independent | of another victim | same images | soft labels |"
    assert rule == "|---|---|---|---|---|"
    assert not any("sibling" in row for row in decision_rows([without]))


def test_the_claim_and_what_churn_finds_stand_in_the_report(shown: Shown) -> None:
    claims = shown.report.body.sections.claims
    assert claims is not None
    assert claims[-1].claim == "UAP fingerprints identify the victim"
    assert "random vectors" in claims[-1].measured
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert "AUC against models stolen from siblings by labels on churn points" in page


# --- figures and tables by hand


def curve(method: str, budgets: dict[int, int]) -> list[dict[str, object]]:
    """Rows of budget to images."""
    return [
        {
            "method": method,
            "stolen": "unmodified",
            "budget": b,
            "images": n,
            "auc_all": 0.9,
            "auc_all_low": 0.8,
            "auc_all_high": math.nan,
        }
        for b, n in budgets.items()
    ]


def test_budgets_that_buy_the_same_images_are_one_row() -> None:
    """All that there is, once: also where a budget that is not shown bought it first."""
    table = pd.DataFrame(
        [*curve("churn", {10: 10, 100: 100, 200: 150, 400: 150, 1000: 150}), *curve("churn_uap", {10: 7, 100: 7})]
    )
    kept = rows_at(table, (100, 400, 1000))
    assert kept[["method", "budget", "images"]].to_numpy().tolist() == [
        ["churn", 100, 100],
        ["churn", 400, 150],
        ["churn_uap", 100, 7],
    ]


def test_the_figure_has_a_line_per_method_and_a_panel_per_group() -> None:
    table = pd.DataFrame([*curve("churn", {10: 10, 100: 100, 400: 100}), *curve("weighted_churn", {10: 10})])
    figure = figures.churn_auc(table, {"all": "auc_all"})
    (axis,) = figure.axes
    assert [len(line.lines[0].get_xdata()) for line in axis.containers] == [2, 1]
    assert axis.get_xscale() == "log"
    assert figures.churn_auc(pd.DataFrame(), {"all": "auc_all"}).axes
    images = figures.captioned_rows(np.zeros((8, 3, 4, 4)), ["victim: 1\nsiblings:\n2 (3)"] * 8)
    assert len(images.axes) == 12
    assert sum(len(axis.images) for axis in images.axes) == 8


def test_the_exact_test_counts_every_model_by_hand(shown: Shown) -> None:
    """Labels on the images, by loops; at alpha .5 the victim is ranked against one sibling."""
    spec = shown.plan.exact
    assert spec is not None
    assert len(spec.players) == 2
    points = read_sibling_points(shown.store.get(*spec.artifact))
    table = shown.table("exact")
    n = 25
    claimed: dict[str, list[bool]] = {}
    for member in shown.plan.judged:
        response = shown.plan.exact_response(member)
        assert response is not None
        labels = read_pool_labels(shown.store.get(*response.artifact)).labels
        scores = []
        for player in range(2):
            own = points.index[player, :n].tolist()
            agreed = sum(int(labels[i]) == int(points.said[player, i]) for i in own) / n
            other = sum(int(points.said[1 - player, i]) == int(points.said[player, i]) for i in own) / n
            scores.append((agreed - other) / 1e-6)
        claimed.setdefault(str(member.role), []).append(scores[0] > scores[1] + 1e-3)
    rows = table[table["points"] == n].set_index("role")
    for role, found in claimed.items():
        assert rows.loc[role, "models"] == len(found)
        assert rows.loc[role, "claimed"] == pytest.approx(sum(found) / len(found))
    assert rows.loc["victim", "claimed"] == 1.0
    body = json.loads((shown.folder / "report.json").read_text())
    assert len(body["exhibits"]["exact"]) == len(table)


def test_siblings_too_few_to_rank_are_refused() -> None:
    config = tiny_with_siblings()
    strict = replace(config, verdict=replace(config.verdict, alpha=0.05, n_calibrate=19))
    with pytest.raises(UserError, match=r"siblings.exact: expected at least 19 siblings .* got 5"):
        check(replace(strict, siblings=replace(config.siblings, exact=True)))
