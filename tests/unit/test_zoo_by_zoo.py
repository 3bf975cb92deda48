"""Tables over seeds that show every zoo alone: cells are the reports', places and orders those of a slow count."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from system import ROOT

from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.reporting.churn_schema import ExactClaims
from uapfp_dist.reporting.headline_areas import AGAINST, METHODS
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.reporting.over_seeds import seeds_figure, write_up, zoo_blocks
from uapfp_dist.reporting.report_schema import EvaluationReport, read_report
from uapfp_dist.results.evaluations import exact_blocks

Rows = dict[str, list[str]]


@pytest.fixture(scope="module")
def zoos() -> list[EvaluationReport]:
    """Three zoos that stand in the folder of results."""
    names = (f"digits-large-{seed}.json" for seed in range(3))
    return [read_report(json.loads((ROOT / "jobs" / "results" / name).read_text())) for name in names]


def area(report: EvaluationReport, method: str, group: Group) -> float:
    """As in the headline."""
    return report.auc_detail[method]["prob" if method in ("uap_paper", "clean") else CHOSEN][group].mean


def rows(block: str) -> Rows:
    """First cell to the others."""
    lines = (line.strip("| ").split(" | ") for line in block.splitlines())
    return {name.strip("`"): cells for name, *cells in lines}


def by_group(reports: list[EvaluationReport]) -> dict[Group, Rows]:
    """The tables of every zoo alone."""
    blocks = zoo_blocks(reports)
    return {g: rows(blocks[blocks.index(f"Against {GROUPS[g]}:") + 1]) for g in AGAINST}


def test_every_zoo_has_its_own_number(zoos: list[EvaluationReport]) -> None:
    for group, table in by_group(zoos).items():
        assert table["method"] == ["seed 0", "seed 1", "seed 2", "mean ± standard error", "places"]
        for method in set(METHODS) & set(zoos[0].auc):
            found = [area(r, method, group) for r in zoos]
            *cells, mean, _ = table[method]
            assert cells == [f"{value:.2f}" for value in found]
            assert mean == f"{np.mean(found):.3f} ± {np.std(found, ddof=1) / 3**0.5:.3f}"
        assert "ipguard_tuned" not in table, "digits zoos do not have it"


def test_places_are_counted_in_every_zoo(zoos: list[EvaluationReport]) -> None:
    """Nobody is better: place 1; equals share a place."""
    for group, table in by_group(zoos).items():
        for method in set(METHODS) & set(zoos[0].auc):
            better = [sum(area(r, m, group) > area(r, method, group) for m in r.auc) for r in zoos]
            assert table[method][-1] == f"{min(better) + 1} to {max(better) + 1} of {len(zoos[0].auc)}"


def test_whether_zoos_order_methods_alike(zoos: list[EvaluationReport]) -> None:
    """Kendall's tau by counting pairs of methods; ties shrink the denominator (tau-b)."""
    table = rows(zoo_blocks(zoos)[-1])
    for group in AGAINST:
        taus = []
        for one, other in combinations(zoos, 2):
            pairs = list(combinations(zoos[0].auc, 2))
            signs = np.sign([[area(r, a, group) - area(r, b, group) for r in (one, other)] for a, b in pairs])
            taus.append((signs[:, 0] * signs[:, 1]).sum() / np.sqrt(np.prod((signs != 0).sum(axis=0))))
        wanted = [f"{value:.2f}" for value in (np.mean(taus), min(taus), max(taus))]
        assert table[GROUPS[group]] == [str(len(zoos[0].auc)), *wanted]


def test_a_method_that_one_zoo_lacks(zoos: list[EvaluationReport]) -> None:
    lacking = replace(zoos[1], auc_detail={m: v for m, v in zoos[1].auc_detail.items() if m != "churn"})
    found = by_group([zoos[0], lacking])["sibling"]["churn"]
    assert found[1] == "-"
    assert found[0] == f"{area(zoos[0], 'churn', 'sibling'):.2f}"
    assert rows(zoo_blocks([zoos[0], lacking])[-1])[GROUPS["sibling"]][0] == str(len(zoos[0].auc) - 1)


def test_the_exact_test_is_shown_whatever_it_gave(zoos: list[EvaluationReport]) -> None:
    """Claimed of every group, added up over zoos; nothing where no zoo has it."""
    none = [replace(r, sections=replace(r.sections, exact=None)) for r in zoos]
    assert list(exact_blocks(none)) == []
    share = {"points": 25, "images": 435, "claimed_low": 0.1, "claimed_high": 0.9}
    first = (
        ExactClaims(role="piracy", models=16, claimed=0.625, **share),  # type: ignore[arg-type]
        ExactClaims(role="other_victim_piracy", models=20, claimed=0.4, **share),  # type: ignore[arg-type]
    )
    second = (replace(first[0], images=400, models=12, claimed=0.25), replace(first[1], images=400, models=10))
    two = [
        replace(report, sections=replace(report.sections, exact=claims))
        for report, claims in zip(none[:2], (first, second), strict=True)
    ]
    _, block = exact_blocks(two)
    assert block.splitlines()[0] == "| images | stolen | stolen from another victim |"
    assert block.splitlines()[2:] == ["| 400 to 435 (25 of each player) | 13/28 | 12/30 |"]


def test_one_zoo_has_no_spread(zoos: list[EvaluationReport]) -> None:
    assert zoo_blocks(zoos[:1]) == []
    assert "Each zoo alone" not in write_up("digits-large", zoos[:1])
    assert "Each zoo alone" in write_up("digits-large", zoos)


def test_the_picture_has_a_mark_for_every_zoo(zoos: list[EvaluationReport]) -> None:
    lines = [line for axis in seeds_figure(zoos).axes for line in axis.get_lines()]
    marks = sorted(line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "s", "^"))
    methods = set(METHODS) & set(zoos[0].auc)
    assert marks == pytest.approx(sorted(area(r, m, g) for r in zoos for m in methods for g in AGAINST))
