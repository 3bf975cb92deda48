"""Tables of exact sibling tests over zoos."""

import json
from pathlib import Path

from uapfp_dist.results.page import write_page
from uapfp_dist.serialization import to_json
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.verification.enrollment.exact_power import ExactPower
from uapfp_dist.verification.kit.info import Accused
from uapfp_dist.verification.reports.exact_rates import exact_power_text, exact_rows

FOUND = [
    ExactPower(1, 19, 25, 480, 0, Accused(3, 4), Accused(10, 120)),
    ExactPower(2, 19, 25, 470, 0, Accused(1, 4), Accused(20, 120)),
    ExactPower(1, 19, 25, 490, 6, Accused(4, 4), Accused(90, 120), Accused(2, 4), Accused(1, 80), Accused(2, 20)),
    ExactPower(2, 19, 25, 490, 6, Accused(2, 4), None),
]


def test_zoos_are_added_up_and_the_worst_is_shown() -> None:
    unweighted, learned = exact_rows(FOUND)[2:]
    assert unweighted.startswith("| unweighted | 475 (25 a player) | 0.500 [")
    assert "(4/8) | 1/4 | - |" in unweighted
    assert unweighted.endswith("(30/240) | - | - |")
    assert learned.startswith("| learned from 6 thefts each | 490 (25 a player) | 0.750 [")
    assert "(90/120) | 0.013 [" in learned
    assert learned.endswith("(1/80) | 2/20 |")
    assert next(iter(exact_power_text("digits", FOUND, 0.05))).startswith("`digits`, 2 zoos")


def test_one_zoo_does_not_pass_for_certainty() -> None:
    """There is nothing to resample: the interval is that of its models, and is called so."""
    one = FOUND[2:3]
    low, high = clopper_pearson(4, 4)
    assert f"1.000 [{low:.3f}, {high:.3f}] (4/4)" in exact_rows(one)[2]
    first = next(iter(exact_power_text("digits", one, 0.05)))
    assert first.startswith("`digits`, 1 zoo:")
    assert "as if the models of one zoo were independent" in first


def test_the_page_reads_what_kit_power_writes(tmp_path: Path) -> None:
    (tmp_path / "digits-exact.json").write_text(json.dumps(to_json(FOUND)))
    about = {"title": "x", "date": "2026-01-01", "hardware": "h", "command": "c", "files": ["digits-exact.json"]}
    index = {"introduction": "", "measurements": [about | {"kind": "exact_power"}]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert "(90/120)" in write_page(tmp_path).read_text()
