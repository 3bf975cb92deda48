"""Every table and figure, from one tiny evaluation in which everything is turned on."""

import html
import math
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from system import Keeper, run_here, tiny, tiny_plan

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.schema import Config, ModificationConfig, StudyConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import load
from uapfp_dist.evaluation.encoder_trial import Setting, outcome, trial
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.blocks import CLEAN, PAPER
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.sections.recovery_methods import IN_PROBABILITIES
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.reporting.sections.robustness import destroyed_models
from uapfp_dist.reporting.sections.sweeps import one_architecture
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import SubspaceConfig
from uapfp_dist.tracking.tracker import NullTracker


def everything() -> Config:
    """The tiny evaluation with every modification and study, at the smallest size that has one of each."""
    base = tiny()
    return replace(
        base,
        zoo=replace(base.zoo, n_piracy=4, n_homologous=5),
        modifications=ModificationConfig(
            n_piracy=4,
            n_homologous=4,
            victim=True,
            fine_tune_epochs=1.0,
            prune=(0.4,),
            n_adversarial=4,
            adversarial_iterations=2,
            adversarial_every=1,
        ),
        studies=StudyConfig(
            n_subspace=2,
            subspace=SubspaceConfig(n_uaps=6, n_images=50, passes=2),
            n_trajectories=1,
            recoveries=(0.3, 0.5),
            n_overlap=1,
            overlaps=(0.0, 1.0),
            sweeps=True,
            n_points=(3, 6),
            top_k=(1, 3),
            n_views=(2,),
            n_resamples=2,
            whole_clusters=True,
        ),
        verdict=replace(
            base.verdict, formats=(PROBABILITIES, ResponseFormat(3), LABEL), train_pool=3, decided_by="uap_ensemble"
        ),
    )


@dataclass(frozen=True)
class Shown:
    """A finished evaluation."""

    plan: Plan
    report: Report
    folder: Path
    store: Store


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Everything, once."""
    root = tmp_path_factory.mktemp("everything")
    config = everything()
    check(config)
    plan, store = make_plan(config, 0, load("digits", None)), Store(str(root / "storage"))
    report = run_here(plan, store, tracker=Keeper(root / "out"))
    return Shown(plan, report, root / "out", store)


FIGURES = (
    "answer", "auc", "false_accusations", "fig2a_projections", "fig2b_inconsist", "fig3_tsne", "fig5_similarity_cdf",
    "fig6_left_n_points", "fig6_left_top_k", "fig6_right_recovery", "fig7_uap_vs_lap", "fig8_left_modifications",
    "fig8_right_adversarial", "groups", "loss", "n_views", "overlap", "recovery_methods", "roc", "uap",
    "utility_similarity", "view_algorithms",
)  # fmt: skip
TABLES = (
    "answer", "beside_paper", "claims", "controls", "fig7_uap_vs_lap", "fooling", "inconsist", "loss", "methods",
    "modifications", "n_points", "n_views", "overlap", "adversarial", "recovery", "table1_zoo", "table_similarity",
    "top_k", "verdicts", "zoo", "methods_at_equal_budget", "recovery_methods", "view_algorithms",
)  # fmt: skip


@pytest.mark.slow
def test_every_figure_and_table_is_there(shown: Shown) -> None:
    """Nothing failed, nothing is empty."""
    assert shown.report.body.failures == ()
    assert {path.stem for path in (shown.folder / "figures").glob("*.png")} >= set(FIGURES)
    for name in TABLES:
        assert len(pd.read_csv(shown.folder / "tables" / f"{name}.csv")), name


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
    data = SimpleNamespace(plan=plan, cards={lost.spec.id: card})
    data.judged = SimpleNamespace(members=[m for m in plan.judged if m != lost])
    (row,) = destroyed_models(cast(ReportData, data)).to_dict("records")
    expected = {"role": "piracy", "modification": "prune .4", "accuracy_before": 0.9, "accuracy": 0.1}
    assert row == {"model": lost.spec.id, **expected}
    data.judged.members.append(lost)
    assert destroyed_models(cast(ReportData, data)).empty


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
def test_the_papers_encoder_learns_from_one_architecture(shown: Shown) -> None:
    """Against encoders trained on draws of that architecture by hand; the other row are the evaluation's own draws."""
    config = shown.plan.config
    plan = replace(shown.plan, config=replace(config, verdict=replace(config.verdict, n_train=1)))
    matrix, *_ = Evaluator(shown.plan, shown.store, NullTracker()).matrix()
    architecture = config.zoo.architectures[0]
    own, alone = (
        [make_resample(matrix.members, i, 1, 1, seed, only) for i in range(config.studies.n_resamples)]
        for seed, only in (("0", None), (f"0/{architecture}", architecture))
    )
    data = SimpleNamespace(plan=plan, matrix=matrix, store=shown.store)
    data.resamples = [SimpleNamespace(resample=resample) for resample in own]
    vars(data).update(pool=None, threads=1, setting="digits")
    found = one_architecture(cast(ReportData, data))
    assert found is not None
    assert found.remarks == ()
    trained = {
        matrix.members[row].spec.architecture for d in alone for row in (*d.training.piracy, *d.training.homologous)
    }
    assert trained == {architecture}
    for (_, row), draws in zip(found.tables["paper_row"].iterrows(), (own, alone), strict=True):
        scores = [
            trial(matrix, draw, Setting(PAPER), config.encoder, f"{plan.probe.id}/{draw.index}") for draw in draws
        ]
        gaps = [outcome(matrix, draw, mine)["gap"] for draw, mine in zip(draws, scores, strict=True)]
        assert row["gap"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)


@pytest.mark.slow
def test_fooling_is_counted_from_the_answers(shown: Shown) -> None:
    """Label of x + v against label of x, over the images of the test views, model by model."""
    plan, store = shown.plan, shown.store
    probe = read_probe(store.get("probe", plan.probe.id))
    block, n_views = probe.blocks[PAPER], plan.config.fingerprint.n_test_views
    sent = sorted({int(i) for i in block.gather[:n_views].flatten()})
    rates: dict[str, list[float]] = {}
    for member in plan.judged:
        answers = read_responses(store.get("answers", plan.response(member).id)).blocks
        moved = [int(answers[PAPER][i].argmax()) != int(answers[CLEAN][int(block.point[i])].argmax()) for i in sent]
        rates.setdefault(member.role, []).append(sum(moved) / len(moved))
    found = shown.report.body.sections.fooling
    assert found is not None
    assert found.keys() == rates.keys() >= {"victim", "piracy", "homologous"}
    for role, values in rates.items():
        assert found[role].fooling_rate == pytest.approx(sum(values) / len(values))
        assert found[role].models == len(values)


@pytest.mark.slow
def test_every_format_and_the_decider_reach_the_page(shown: Shown) -> None:
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert "top3" in page
    assert "<code>uap_ensemble</code>, which decides" in page
    assert re.search(r"zoo \d+ s, .*judging \d+ s", page)
    stolen = sum(shown.store.get("model", m.spec.id).info["queries"] for m in shown.plan.judged)
    assert f"{stolen:,} to victims" in page
    table = pd.read_csv(shown.folder / "tables" / "verdicts.csv")
    assert {"score", "decided_by", "similarity_uap", "p_value_t_test_uap"} <= set(table.columns)


@pytest.mark.slow
def test_the_papers_numbers_stand_beside_ours(shown: Shown) -> None:
    """On digits those that it gives for all data; the t-test is that of its own way, Table 2's."""
    sections = shown.report.body.sections
    assert sections.beside_paper is not None
    table = {row.quantity: row for row in sections.beside_paper}
    assert len(table) == 3
    detected, t_test = table["share of piracy models detected at alpha .05 (t-test)"], sections.paper_t_test
    assert t_test is not None
    assert (detected.ours, detected.ours_low) == (t_test.piracy, t_test.piracy_low)
    assert table["fooling rate of the UAP on the victim"].ours == shown.report.body.uap.fooling_rate
    gaps, cells = sections.similarity_gaps, pd.DataFrame(to_json(sections)["similarity_by_architecture"])
    assert gaps is not None
    assert gaps.largest == pytest.approx(cells["piracy_mean"].max() - cells["homologous_mean"].min())
    (abstract,) = [c for c in sections.claims or () if c.claim.startswith("confidence above")]
    assert f"detects {t_test.piracy:.1%} of piracy" in abstract.measured


@pytest.mark.slow
def test_fingerprints_that_share_no_unit_with_the_victims_are_counted(shown: Shown) -> None:
    zero = shown.report.body.sections.exactly_zero
    assert zero is not None
    assert set(zero) == {"piracy", "homologous"}
    assert 0.0 <= zero["piracy"] <= zero["homologous"] <= 1.0
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert f"{zero['homologous']:.1%} of the homologous fingerprints" in page


@pytest.mark.slow
def test_figure_7_says_what_it_compares(shown: Shown) -> None:
    """One UAP beside local perturbations and a random vector of its norm, one encoder each."""
    table = pd.read_csv(shown.folder / "tables" / "fig7_uap_vs_lap.csv").set_index("method")
    assert table["perturbation"].to_dict() == {
        "uap_paper": "UAP at xi",
        "lap_paper": "LAP at xi",
        "random_paper": "random vector at xi",
        "lap_minimal": "LAP, minimal",
    }
    for method, auc in table["auc"].items():
        assert auc == pytest.approx(shown.report.body.auc[str(method)]["prob"]["homologous"])


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


@pytest.mark.slow
def test_equal_budgets_are_kept(shown: Shown) -> None:
    """No method sends more images than the comparison allows."""
    table = pd.read_csv(shown.folder / "tables" / "methods_at_equal_budget.csv")
    assert table["queries"].max() <= shown.plan.config.verdict.query_budget
    assert set(table["method"]) == set(shown.plan.config.verdict.methods)


@pytest.mark.slow
def test_every_claim_of_the_paper_has_an_outcome(shown: Shown) -> None:
    """By a rule that stands beside it."""
    claims = shown.report.body.sections.claims
    assert claims is not None
    assert len(claims) == 10
    assert all(c.rule and c.paper and c.measured for c in claims)
    by_claim = {c.claim: c.outcome for c in claims}
    assert by_claim["confidence above 99.99 % within 20 fingerprints (abstract)"] == "not reproduced"


class Folds(HTMLParser):
    """The folds of a page: what each answers, and its title."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[str] = []
        self.titles: list[str] = []
        self._inside: list[str] | None = None
        self._in_fold = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A fold, or one of its two texts, begins."""
        self._in_fold = ("class", "fold") in attrs or (self._in_fold and tag in ("summary", "h2", "span"))
        self._inside = {"h2": self.questions, "span": self.titles}.get(tag) if self._in_fold else None

    def handle_data(self, data: str) -> None:
        """The text."""
        if self._inside is not None:
            self._inside.append(data)
            self._inside = None


@pytest.mark.slow
def test_one_page_holds_it_all(shown: Shown) -> None:
    """The answer, its picture and its table; then every section, under what it answers. Nothing is loaded."""
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    found = answer(shown.report.body)
    marks = [page.index(html.escape(found.findings[0].finding)), page.index("<figure"), page.index("<table")]
    assert sorted(marks) == marks
    assert marks[-1] < page.index("<details")
    folds = Folds()
    folds.feed(page)
    assert len(folds.questions) == len(folds.titles) > 20
    assert all(question.endswith("?") for question in folds.questions), "a line in rendering.QUESTIONS for each section"
    summary = (shown.folder / "summary.md").read_text(encoding="utf-8")
    assert summary.endswith(found.markdown())
    for word in (
        "Table 1",
        "Figure 2",
        "Figure 3",
        "Figure 5",
        "Figure 6",
        "Figure 7",
        "Figure 8",
        "claims",
        "Controls",
    ):
        assert any(word in title for title in folds.titles), word
    assert 'src="http' not in page
    assert "fashion" not in page


@pytest.mark.slow
def test_the_same_again_fits_nothing_twice(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws and trials are read back, to the same numbers."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an encoder was fitted again")

    monkeypatch.setattr("uapfp_dist.fingerprints.methods.encoder_method.fit_tasks", refuse)
    again = run_here(shown.plan, shown.store)
    assert to_json(again.body.sections) == to_json(shown.report.body.sections)
    assert to_json(again.body)["verdicts"] == to_json(shown.report.body)["verdicts"]
