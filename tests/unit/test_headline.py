"""The paper's headline beside ours: every cell is the report's number, and what was not measured is a dash."""

import json
import math
from dataclasses import replace

import pytest
from system import ROOT

from uapfp_dist.reporting.headline_areas import AGAINST, METHODS
from uapfp_dist.reporting.paper import paper_number
from uapfp_dist.reporting.recovery_schema import MethodAtRecovery
from uapfp_dist.reporting.report_schema import EvaluationReport, read_report
from uapfp_dist.results.evaluations import REWORDED
from uapfp_dist.results.headline import headline_figure, headline_section
from uapfp_dist.results.markdown import interval, number

RESULTS = ROOT / "jobs" / "results"
Cells = dict[str, list[str]]


def report(name: str) -> EvaluationReport:
    """One of the reports that stand in the folder of results, as if no extraction had been stopped."""
    found = read_report(json.loads((RESULTS / f"{name}.json").read_text()))
    return replace(found, sections=replace(found.sections, recovery_methods=None))


def stopped(method: str, level: float, area: float) -> MethodAtRecovery:
    """Five models, .01 above their level."""
    return MethodAtRecovery(
        method=method,
        level=level,
        recovery=level + 0.01,
        models=5,
        similarity=math.nan,
        auc_homologous=area,
        auc_homologous_low=area - 0.1,
        auc_homologous_high=area + 0.1,
        auc_other_victim=math.nan,
        auc_other_victim_low=math.nan,
        auc_other_victim_high=math.nan,
        auc_same_data=math.nan,
        auc_same_data_low=math.nan,
        auc_same_data_high=math.nan,
    )


def tables(*reports: EvaluationReport) -> list[Cells]:
    """First cell to the other cells, of every table in turn; the head's first cell is empty or names the rows."""
    found: list[Cells] = []
    for block in headline_section(reports):
        rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
        if rows:
            found.append({row[0]: row[1:] for row in rows})
    return found


@pytest.fixture(scope="module")
def both() -> list[EvaluationReport]:
    """Of Fashion-MNIST, by all methods, and of CIFAR-10, by six."""
    return [report("fashion_mnist-small-0"), report("cifar10-small-0")]


def test_areas_are_the_reports(both: list[EvaluationReport]) -> None:
    """`uap_paper` by probabilities, others in the chosen format, against the group of the table."""
    _, *areas = tables(*both)[:5]
    for group, cells in zip(("homologous", "same_data", "other_victim", "sibling"), areas, strict=True):
        for method, fmt in (("uap_paper", "prob"), ("clean", "prob"), ("uap", "chosen"), ("weighted_churn", "chosen")):
            for one, cell in zip(both, cells[f"`{method}`"], strict=True):
                if method not in one.auc_detail:
                    assert cell == "-"
                    continue
                wanted = one.auc_detail[method][fmt][group]  # type: ignore[index]
                assert cell == interval(wanted.mean, wanted.low, wanted.high), (group, method)
        assert ("the paper's UAP" in cells) == (group == "homologous"), "the paper has no other negatives"


def test_the_papers_numbers_are_those_of_the_data_set(both: list[EvaluationReport]) -> None:
    zoos, independent = tables(*both)[:2]
    names = ("fashion_mnist", "cifar10")
    assert zoos["the paper's"] == [number(paper_number("recovery", name).value) for name in names]
    for row, key in (("the paper's UAP", "auc_uap"), ("the paper's IPGuard", "auc_ipguard")):
        assert independent[row] == [number(paper_number(key, name).value) for name in names]


def test_stolen_models_stopped_at_the_papers_recovery(both: list[EvaluationReport]) -> None:
    """At that of their data set alone: .85 and .83. Without any there is no such table."""
    n = len(tables(*both))
    rows = tuple(
        stopped(m, level, 0.5 + i / 10) for m in ("uap_paper", "churn") for i, level in enumerate((0.78, 0.83))
    )
    with_them = replace(both[1], sections=replace(both[1].sections, recovery_methods=rows))
    found = tables(both[0], with_them)
    assert len(found) == n + 2
    cells = found[5]
    assert cells["models"] == ["-", "5"]
    assert cells["their recovery"] == ["-", "0.84"]
    assert cells["`churn`"] == ["-", "0.60 [0.50, 0.70]"]
    assert found[6]["`churn`"] == ["-", "-"], "no model was stolen from a sibling"


def test_claims_and_similarities_have_a_column_for_each_data_set(both: list[EvaluationReport]) -> None:
    *_, claims, similarities = tables(*both)
    for one, column in zip(both, (0, 1), strict=True):
        assert one.sections.claims is not None
        for claim in one.sections.claims:
            assert claims[REWORDED.get(claim.claim, claim.claim)][column] == f"**{claim.outcome}**"
    assert len(claims) == 2 + len(both[0].sections.claims or ()), "a row for each claim, below the head and its rule"
    cell = (both[1].sections.similarity_by_architecture or ())[0]
    stolen = similarities[f"{cell.architecture} {cell.optimizer}"][2]
    assert stolen.startswith(f"{cell.piracy_mean:.2f} ± {cell.piracy_std:.2f} (")


def test_the_picture_draws_every_area_and_the_papers_numbers(both: list[EvaluationReport]) -> None:
    """A mark for each number, a cross for each of the paper's; the values are those of the table."""
    figure = headline_figure(both)
    assert len(figure.axes) == 4
    lines = [line for axis in figure.axes for line in axis.get_lines()]
    crosses = sorted(line.get_xdata()[0] for line in lines if line.get_marker() == "x" and len(line.get_xdata()))
    assert crosses == [0.75, 0.83, 1.0, 1.0]
    marks = sorted(line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "s"))
    areas = [
        one.auc_detail[m]["prob" if m in ("uap_paper", "clean") else "chosen"][group].mean
        for one in both
        for m in METHODS
        if m in one.auc_detail
        for group in AGAINST
    ]
    assert marks == pytest.approx(sorted(areas))
