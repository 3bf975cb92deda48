"""Every table and figure is there and on the page, within equal budgets, and nothing is fitted twice."""

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from everything import Shown
from system import run_here

from uapfp_dist.reporting.answer import answer
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.specs import Checkpoint

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
def test_every_format_and_the_decider_reach_the_page(shown: Shown) -> None:
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert "top3" in page
    assert "<code>uap_ensemble</code>, which decides" in page
    assert re.search(r"zoo \d+ s, .*judging \d+ s", page)
    sent = {m.spec: shown.store.get("model", m.spec.id).info["queries"] for m in shown.plan.judged}
    stops = {spec: queries for spec, queries in sent.items() if isinstance(spec.origin, Checkpoint)}
    last = max(stops.values())  # of the only extraction that was stopped, twice
    assert len(stops) == 2
    assert f"{sum(sent.values()) - sum(stops.values()) + last:,} to victims" in page
    table = pd.read_csv(shown.folder / "tables" / "verdicts.csv")
    assert {"score", "decided_by", "similarity_uap", "p_value_t_test_uap"} <= set(table.columns)


@pytest.mark.slow
def test_equal_budgets_are_kept(shown: Shown) -> None:
    """No method sends more images than the comparison allows."""
    table = pd.read_csv(shown.folder / "tables" / "methods_at_equal_budget.csv")
    assert table["queries"].max() <= shown.plan.config.verdict.query_budget
    assert set(table["method"]) == set(shown.plan.config.verdict.methods)


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
