"""The paper's numbers: that the tables agree with what its text derives from them, and what a bound means."""

import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.reporting import paper
from uapfp_dist.reporting.paper import Measured


@pytest.mark.parametrize("dataset", paper.DATASETS)
def test_the_gaps_of_the_text_follow_from_the_tables(dataset: str) -> None:
    """A digit typed wrongly in an extreme row of Table 2 or 3 would break this. The paper cuts .998 down to .99."""
    table = paper.table(dataset)
    assert table is not None
    largest, smallest = paper.gaps(table)
    assert largest == pytest.approx(paper.paper_number("gap_largest", dataset).value, abs=0.0095)
    assert smallest == pytest.approx(paper.paper_number("gap_smallest", dataset).value, abs=0.005)
    assert paper.paper_number("gap_smallest", dataset).holds(smallest)


@pytest.mark.parametrize(("dataset", "rows"), [("fashion_mnist", 12), ("cifar10", 4), ("tiny_imagenet", 4)])
def test_tables_are_whole_and_plausible(dataset: str, rows: int) -> None:
    table = paper.table(dataset)
    assert table is not None
    assert len(table.drop_duplicates(["architecture", "optimizer"])) == rows
    numbers = table.drop(columns=["architecture", "optimizer"])
    assert numbers.notna().all(axis=None)
    assert ((numbers >= 0) & (numbers <= 1)).all(axis=None)
    # "We successfully reject H0 for all the piracy models", and for no homologous ones.
    assert (table["piracy_p"] < 0.05).all()
    assert (table["homologous_p"] > 0.05).all()
    assert (table["piracy_mean"] > table["homologous_mean"]).all()


def test_cells_as_printed() -> None:
    table = paper.table("fashion_mnist")
    assert table is not None
    row = table.set_index(["architecture", "optimizer"]).loc[("E", "sgd")]
    assert row.to_list() == [0.8821, 0.203, 1e-16, 0.0377, 0.1360, 0.9923]
    tiny = paper.table("tiny_imagenet")
    assert tiny is not None
    assert tiny["optimizer"].isna().all()
    assert tiny.set_index("architecture")["homologous_p"].to_dict() == {
        "resnet34": 0.5278, "vgg16": 0.1574, "googlenet": 0.8277, "densenet121": 0.7088
    }  # fmt: skip


def test_models_are_counted_as_the_zoo_is_built() -> None:
    """Two types, ten models per architecture (and optimizer), and the victim (protocol section 1)."""
    for dataset in paper.DATASETS:
        table = paper.table(dataset)
        assert table is not None
        assert paper.paper_number("n_models", dataset).value == 2 * 10 * len(table) + 1


def test_auc() -> None:
    for dataset, ours, ipguard in (("fashion_mnist", 1.0, 0.83), ("cifar10", 1.0, 0.75), ("tiny_imagenet", 0.98, 0.61)):
        assert paper.paper_number("auc_uap", dataset).value == ours
        assert paper.paper_number("auc_ipguard", dataset).value == ipguard


def test_the_paper_knows_nothing_of_other_data() -> None:
    assert paper.table("digits") is None
    with pytest.raises(UserError, match="fig2b_ratio on fashion_mnist"):
        paper.paper_number("fig2b_ratio", "digits")
    assert paper.paper_number("fooling", "digits").value == 0.8


def test_bounds() -> None:
    fooling, share = paper.paper_number("fooling", "cifar10"), paper.paper_number("fig5_homologous_above_.4", "cifar10")
    assert (fooling.holds(0.81), fooling.holds(0.8), fooling.holds(None), fooling.holds(float("nan"))) == (
        True, False, None, None
    )  # fmt: skip
    assert (share.holds(0.2), share.holds(0.21)) == (True, False)
    assert paper.paper_number("fig2b_ratio", "fashion_mnist").holds(3.0) is None


def test_claims_are_named_once() -> None:
    keys = [(c.key, c.dataset) for c in paper.PAPER_NUMBERS]
    assert len(set(keys)) == len(keys)


def test_ours_beside_the_papers() -> None:
    ours = {"fooling": Measured(0.75), "auc_uap": Measured(0.97, 0.9, 1.0), "fig2b_ratio": Measured(2.0)}
    table = paper.paper_comparison(ours, "tiny_imagenet").set_index("quantity")
    assert table.loc["fooling rate of the UAP on the victim", ["paper", "ours", "holds"]].to_list() == [
        "> 0.8",
        0.75,
        "no",
    ]
    assert table.loc["AUC of UAP fingerprints", ["paper", "ours", "holds"]].to_list() == ["0.98", 0.97, ""]
    assert table.loc["AUC of UAP fingerprints", ["ours_low", "ours_high"]].to_list() == [0.9, 1.0]
    assert table["ours"].notna().sum() == 2
    assert table["ours_low"].notna().sum() == 1
    assert not table["where"].str.startswith("Fig.").any(), "figures are of other data"
    with pytest.raises(UserError, match="unknown claim"):
        paper.paper_comparison({"fooling_rate": Measured(0.8)}, "cifar10")
