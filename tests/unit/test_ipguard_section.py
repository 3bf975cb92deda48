"""IPGuard's matching rates, as the report prints them."""

from types import SimpleNamespace
from typing import Any

import pytest
from method_matrix import KS, N_POINTS, TESTED, TRAINING, score_one

from uapfp_dist.fingerprints.blocks import IPGUARD_K, BlockKey
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.reporting.sections.ipguard import ipguard


def shown(matrix: ResponseMatrix, tried: int) -> Any:
    """The section, of one resample."""
    scored = score_one(matrix, Resample(0, TRAINING, (7,), TESTED), ("ipguard_tuned",))
    plan = SimpleNamespace(config=SimpleNamespace(fingerprint=SimpleNamespace(n_points=tried)))
    return ipguard(SimpleNamespace(matrix=matrix, resamples=[scored], plan=plan, setting="by hand"))  # type: ignore[arg-type]


def test_matching_rates_are_shares_of_the_points(matrix: ResponseMatrix) -> None:
    """Against a count; one k is chosen, and the twin, which was not compared, has none."""
    found = shown(matrix, N_POINTS)
    rows = {(row.points_of, row.k): row for row in found.numbers.ipguard}
    assert set(rows) == {(points, k) for points in ("D_v", "PROBE") for k in KS}
    for k in KS:
        labels = [answers.blocks[BlockKey(IPGUARD_K, k)].argmax(1) for answers in matrix.responses]
        stolen = [i for i, member in enumerate(matrix.members) if member.role == "piracy"]
        rate = sum(float((labels[i] == labels[0]).double().mean()) for i in stolen) / len(stolen)
        row = rows["D_v", k]
        assert (row.points, row.tried, row.rate["piracy"]) == (N_POINTS, N_POINTS, pytest.approx(rate))
        assert row.rate["piracy"] > row.rate["homologous"]
    assert sum(rows["D_v", k].chosen for k in KS) == 1.0
    assert not found.remarks


def test_an_area_that_rests_on_few_points_says_so(matrix: ResponseMatrix) -> None:
    remarks = shown(matrix, 100).remarks
    assert remarks[0] == f"IPGuard at k {KS[0]:g} on D_v rests on {N_POINTS} of 100 points"
    assert len(remarks) == 2 * len(KS)
