"""What stands beside the paper says by which scores: the paper's own, or what takes their place."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from everything import everything
from random_scores import report_data
from system import tiny_plan

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.reporting.sections.overlap import overlap
from uapfp_dist.reporting.sections.paper_scoring import PaperScoring
from uapfp_dist.reporting.sections.recovery import recovery
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.robustness import modifications
from uapfp_dist.reporting.sections.similarity_cdf import cdfs
from uapfp_dist.reporting.sections.similarity_tables import tables_2_3
from uapfp_dist.reporting.sections.uap_vs_lap import uap_vs_lap
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat

ALL = ("uap", "uap_paper", "lap_paper", "weighted_errors")
TOP3 = ResponseFormat(3)


CASES = {
    "labels": ((LABEL,), ALL),
    "top 3 or label": ((TOP3, LABEL), ALL),
    "as in the paper": ((PROBABILITIES, LABEL), ALL),
    "without uap_paper": ((PROBABILITIES, LABEL), ("uap", "weighted_errors")),
}
"""What suspects are asked for, and the methods compared."""


@pytest.fixture(scope="module")
def cases() -> dict[str, ReportData]:
    """Random scores of a small zoo with studies, held against the paper's Fashion-MNIST."""
    config = everything()
    zoo = replace(config.zoo, n_piracy=6, n_homologous=7)
    modified = replace(config.modifications, n_piracy=1, n_homologous=1, n_adversarial=0)
    plan = tiny_plan(replace(config, zoo=zoo, modifications=modified))
    plan = replace(plan, data=replace(plan.data, name="fashion_mnist"))
    verdict = VerdictConfig(n_train=2, n_calibrate=2, alpha=0.5)
    return {
        name: report_data(plan, replace(verdict, formats=formats), compared)
        for name, (formats, compared) in CASES.items()
    }


def legend(section: ReportSection) -> str:
    """The title of its only figure's legend."""
    (figure,) = section.figures.values()
    title: str = figure.legends[0].get_title().get_text()
    return title


@pytest.fixture(scope="module")
def labels(cases: dict[str, ReportData]) -> ReportData:
    """Suspects give bare labels."""
    return cases["labels"]


def test_labels_alone_have_the_papers_tables(labels: ReportData) -> None:
    """Each row of ours beside the paper's, from the scores by labels; nothing is said to lack."""
    section = tables_2_3(labels)
    table = section.tables["table_similarity"]
    assert len(table) > 1
    assert {"piracy_mean", "piracy_mean_paper", "homologous_p_paper"} <= set(table)
    assert table["piracy_mean"].dropna().between(0.3, 0.7).all(), "the scores are random"
    assert "one UAP of the paper's norm on bare labels" in section.text
    assert "none was tested" not in section.text


def test_without_a_model_to_compare_the_papers_table_stands_alone(labels: ReportData) -> None:
    """No row of ours to set the paper's beside, and no error."""
    nothing = replace(labels, resamples=[replace(d, methods={**d.methods, "uap_paper": ()}) for d in labels.resamples])
    section = tables_2_3(nothing)
    assert section.tables["table_similarity"].empty
    assert "none was tested" in section.text


@pytest.mark.parametrize("make", [recovery, modifications, overlap, tables_2_3, cdfs])
def test_every_section_names_what_it_was_scored_by(
    make: Callable[[ReportData], ReportSection | None], cases: dict[str, ReportData]
) -> None:
    for name, words in {
        "labels": "one UAP of the paper's norm on bare labels",
        "top 3 or label": "one UAP of the paper's norm in the format chosen (top3 or label)",
        "as in the paper": "one UAP of the paper's norm on probabilities",
        "without uap_paper": "`uap`, norms averaged, in the format chosen (probabilities or label)",
    }.items():
        section = make(cases[name])
        assert section is not None
        assert words in section.text
        assert ("probabilities" in section.text) == ("probabilities" in words)


def test_legends_name_the_method_and_the_format(cases: dict[str, ReportData]) -> None:
    for name, named in {
        "labels": "uap_paper, label",
        "top 3 or label": "uap_paper, format chosen",
        "as in the paper": "uap_paper, probabilities",
        "without uap_paper": "uap, format chosen",
    }.items():
        assert legend(cdfs(cases[name])) == f"similarity to the victim ({named})"


def test_figure_7_has_areas_in_the_format_of_suspects(cases: dict[str, ReportData]) -> None:
    """Of similarities in that format, too."""
    for name, column, words in (
        ("labels", "chosen", "One encoder each, on bare labels."),
        ("as in the paper", "prob", "One encoder each, on probabilities."),
    ):
        section = uap_vs_lap(cases[name])
        assert section is not None
        assert words in section.text
        table = section.tables["fig7_uap_vs_lap"].set_index("method")
        for method in ("uap_paper", "lap_paper"):
            assert table.loc[method, "auc"] == cases[name].report.auc[method][column]["homologous"]


def test_overlap_has_a_row_for_each_method_that_was_used(cases: dict[str, ReportData]) -> None:
    """`uap`, which stands in for `uap_paper` where that was left out, stands there once."""
    for name, methods in {"labels": ["uap", "uap_paper"], "without uap_paper": ["uap"]}.items():
        section = overlap(cases[name])
        assert section is not None
        table = section.tables["overlap"]
        assert not table.duplicated(["method", "overlap"]).any()
        assert sorted(set(table["method"])) == methods
        assert (table["models"] == 1).all()
        assert cases[name].paper_scoring.words in section.text


def test_substitutes_are_named_with_what_they_stand_for() -> None:
    assert PaperScoring.among(ALL, (PROBABILITIES, TOP3)).substitution == ""
    no_probabilities = PaperScoring.among(ALL, (TOP3, LABEL))
    assert no_probabilities.format is None
    assert no_probabilities.substitution == (
        "by one UAP of the paper's norm in the format chosen (top3 or label): suspects give no probabilities"
    )
    assert PaperScoring.among(("uap",), (TOP3,)).substitution == (
        "by `uap`, norms averaged, on top3: `uap_paper` was not computed"
    )
