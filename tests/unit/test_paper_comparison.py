"""The paper's numbers beside ours, and its bins of recovery rates."""

from dataclasses import replace

import numpy as np
import pytest
from numbers_by_hand import claim, data, filled, half_stolen, modified

from uapfp_dist.reporting.recovery_schema import RecoveryBin
from uapfp_dist.reporting.section_schema import (
    AdversarialGroup,
    SectionNumbers,
    SweepNumbers,
    ZooNumbers,
    rows_of,
)
from uapfp_dist.reporting.sections.paper_comparison import paper_comparison
from uapfp_dist.reporting.sections.recovery import binned


def test_recovery_bins_are_the_figures() -> None:
    """From an edge to below the next, [.78, .80) the first; what lies outside has a row without that edge."""
    table = binned(half_stolen(0.79, 0.94, 0.7799, 0.78, 0.8, 0.9401))
    assert table["models"].to_list() == [1, 2, 1, 1, 1]
    assert table["similarity"].to_list() == [2.0, 1.5, 4.0, 1.0, 5.0]
    assert table["recovery_bin"].to_list()[1:] == [0.78, 0.8, 0.92, 0.94]
    assert table["recovery_to"].to_list()[:-1] == [0.78, 0.8, 0.82, 0.94]
    assert np.isnan([table["recovery_bin"][0], table["recovery_to"].iloc[-1]]).all()
    found = claim("Fig. 6 right", SectionNumbers(recovery=rows_of(RecoveryBin, table)))
    assert found.measured == "1.50 [0.00, 3.00] from .78 to below .80, models: 2"
    elsewhere = rows_of(RecoveryBin, binned(half_stolen(0.77, 0.8)))
    assert claim("Fig. 6 right", SectionNumbers(recovery=elsewhere)).outcome == "not measured"


def test_stops_of_one_extraction_are_no_independent_models() -> None:
    """Ten stops of two extractions have the interval of two."""
    apart = half_stolen(*[0.785] * 10)
    of_two = binned(apart.assign(base=["a", "b"] * 5)).iloc[0]
    assert (of_two["models"], of_two["extractions"]) == (10, 2)
    assert (of_two["similarity_low"], of_two["similarity_high"]) == (4.0, 5.0)
    alone = binned(apart).iloc[0]
    assert alone["extractions"] == 10
    assert alone["similarity_low"] < 4.0 < 5.0 < alone["similarity_high"]
    assert np.isnan(binned(apart.assign(base="a")).iloc[0]["similarity_low"])


def test_ours_stand_beside_the_papers() -> None:
    """Figures 6 and 8 where they were measured, with the interval that they have there; else a dash."""
    stops = [
        filled(AdversarialGroup, role="piracy", labels="own", iterations=n, accuracy=0.9 - n / 1000)
        for n in (0, 120, 270)
    ]
    stops = [replace(stop, similarity=1 - stop.iterations / 1000) for stop in stops]
    sections = SectionNumbers(
        n_points={str(n): filled(SweepNumbers, gap=gap) for n, gap in ((10, 0.5), (70, 0.79), (100, 0.8))},
        top_k={
            str(k): filled(SweepNumbers, gap=gap, gap_low=gap - 0.1, gap_high=gap + 0.1)
            for k, gap in ((0, 0.3), (1, 0.7), (3, 0.79), (10, 0.8))
        },
        recovery=rows_of(RecoveryBin, binned(half_stolen(0.78, 0.79))),
        modifications=modified(unmodified=0.97, fine_tune=0.9, INT8=0.5, new_last=0.1),
        adversarial=(*stops, replace(stops[1], labels="true", similarity=0.1)),
        zoo=ZooNumbers(mean_recovery=0.97, mean_recovery_low=0.96, mean_recovery_high=0.98),
    )
    found = paper_comparison(data(ipguard_tuned={"hard": 0.4}, ipguard={"hard": 0.9}), sections)
    table = found.tables["beside_paper"].set_index(["where", "quantity"])
    assert [row.quantity for row in found.numbers.beside_paper or ()] == [quantity for _, quantity in table.index]
    ours = {quantity: row["ours"] for (_, quantity), row in table.iterrows()}
    assert ours["points from which the gap grows no more"] == 70
    assert ours["top k from which the gap is stable"] == 3
    assert ours["similarity gap at top_k 1"] == 0.7
    assert ours["mean similarity at a recovery of .78"] == 0.5
    assert ours["least similarity, fine-tuned, pruned or INT8"] == pytest.approx(0.45)
    assert ours["similarity after 120 adversarial iterations"] == 0.88
    assert ours["similarity at the end of the drop that follows"] == 0.73
    assert ours["utility lost after 270 adversarial iterations"] == pytest.approx(0.27)
    assert ours["models trained, the victim included"] == 3
    assert np.isnan(ours["mean Inconsist of homologous over that of piracy models"])
    rows = table.reset_index().set_index("quantity")
    assert rows.loc["piracy model's accuracy over the victim's", ["paper", "ours", "ours_low"]].to_list() == [
        "0.85", 0.97, 0.96,
    ]  # fmt: skip
    assert rows.loc["AUC of IPGuard", ["paper", "ours", "ours_high"]].to_list() == ["0.83", 0.4, 1.0]
    assert rows.loc["fooling rate of the UAP on the victim", "holds"] == "yes"
