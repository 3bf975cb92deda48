"""What MLflow shows of an enrolment: few metrics, every rate in a table, the limits in the description."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from exact_kit import make_exact_kit
from toy_kit import toy_kit

from uapfp_dist.response_format import LABEL, PROBABILITIES
from uapfp_dist.tracking.tracker import DESCRIPTION, NullTracker
from uapfp_dist.verification.enrollment.kit_description import with_rates
from uapfp_dist.verification.judging.accusation_rates import measure_rates
from uapfp_dist.verification.kit.info import Accused, Rates
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.reports.kit_fields import all_rates, kit_tags, main_rates, rates_table, show_kit
from uapfp_dist.verification.reports.rates_over_zoos import rates_text


def rates(n: int, kind: str) -> Rates:
    """All of 8, and those of one kind."""
    return {"all": Accused(n, 8), kind: Accused(n // 2, 4)}


@pytest.fixture(scope="module")
def kit() -> Kit:
    """Rates of two methods, of which one decides, in two formats."""
    made = toy_kit("weighted_errors")
    power = {
        fmt: {"weighted_errors": rates(6, "knockoff:hard"), "uap": rates(2, "knockoff:hard")}
        for fmt in (PROBABILITIES, LABEL)
    }
    false = {fmt: {"weighted_errors": rates(0, "homologous"), "uap": rates(4, "homologous")} for fmt in power}
    info = replace(made.info, power=power, false_accusations=false, limits=("Only digits | and nothing else.",))
    return replace(made, info=info)


def test_metrics_are_those_of_the_method_that_decides(kit: Kit) -> None:
    assert main_rates(kit) == {
        "power/prob/weighted_errors/all": 0.75,
        "power/hard/weighted_errors/all": 0.75,
        "false_accusations/prob/weighted_errors/all": 0.0,
        "false_accusations/hard/weighted_errors/all": 0.0,
    }


def test_no_rate_is_lost(kit: Kit) -> None:
    """By the names that they had as metrics, and as a table."""
    found = all_rates(kit)
    assert len(found) == 16 == len(rates_table(kit))
    assert found["power/hard/uap/knockoff_hard"] == 0.25
    assert found["false_accusations/prob/uap/homologous"] == 0.5


def test_the_description_says_what_it_can_do_and_what_not(kit: Kit) -> None:
    tags = kit_tags(kit)
    assert tags["kit"] == kit.digest
    assert tags["answer"] == (
        f"accuses at alpha {kit.alpha:g} by probabilities: 75% of stolen, 0% of other models; label: 75% of stolen, "
        "0% of other models"
    )
    assert "label | weighted_errors |  | 6 of 8 | 0 of 8" in tags[DESCRIPTION]
    assert "- Only digits | and nothing else." in tags[DESCRIPTION]
    assert kit.digest in tags[DESCRIPTION]


def test_a_kit_that_measured_nothing() -> None:
    bare = toy_kit("uap")
    bare = replace(bare, info=replace(bare.info, power=None, false_accusations=None))
    assert main_rates(bare) == {}
    assert kit_tags(bare)["answer"] == "rates not measured"
    assert "not measured | not measured" in kit_tags(bare)[DESCRIPTION]


def test_the_table_comes_with_the_files_of_the_kit(kit: Kit, tmp_path: Path) -> None:
    received: dict[str, bytes] = {}

    class Listener(NullTracker):
        def log_files(self, folder: Path) -> None:
            received.update({f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.*")})

    (tmp_path / "kit.json").write_text("{}")
    show_kit(Listener(), kit, tmp_path)
    assert received.keys() == {"kit.json", "tables/rates.csv"}
    assert [path.name for path in tmp_path.iterdir()] == ["kit.json"], "nothing is added to the kit itself"
    pd.testing.assert_frame_equal(pd.read_csv(BytesIO(received["tables/rates.csv"])), rates_table(kit))


def test_the_description_names_the_exact_test() -> None:
    description = kit_tags(make_exact_kit())[DESCRIPTION]
    assert "The exact sibling test (makes the claim): 19 siblings" in description
    beside = kit_tags(make_exact_kit(claims=False))[DESCRIPTION]
    assert "Also the exact sibling test (run by verify --exact, without a claim): 19 siblings" in beside


def test_a_kit_whose_exact_test_claims_shows_its_rates() -> None:
    """Not those of the conformal test, which claims nothing; the table has both."""
    kit = with_rates(make_exact_kit())
    assert main_rates(kit) == {"power/hard/sibling_test/all": 0.75}
    assert kit_tags(kit)["answer"] == (
        "accuses at alpha 0.05 by the exact sibling test: 75% of stolen, an unknown share of other models"
    )
    assert "label | sibling_test |" in kit_tags(kit)[DESCRIPTION]
    assert "| 3 of 4 | not measured" in kit_tags(kit)[DESCRIPTION]
    assert "weighted_churn" not in kit_tags(kit)[DESCRIPTION]
    assert kit.info.exact is not None
    info = replace(kit.info, exact=replace(kit.info.exact, accused=Accused(1, 50)))
    assert main_rates(replace(kit, info=info))["false_accusations/hard/sibling_test/all"] == 0.02
    assert {"sibling_test", "weighted_churn"} <= set(rates_table(kit)["method"])
    beside = with_rates(make_exact_kit(claims=False))
    assert {name.split("/")[2] for name in main_rates(beside)} == {"weighted_churn"}


@pytest.mark.parametrize(
    ("claims", "column"), [(True, "| conformal test, without a claim |"), (False, "| as decided |")]
)
def test_a_table_over_zoos_names_what_makes_the_claim(claims: bool, column: str) -> None:
    kit = make_exact_kit(claims=claims)
    assert rates_text("digits", [kit], [measure_rates(kit)], 19, None).count(f"| suspect | answers {column}") == 2


def test_what_was_not_measured_is_unknown_and_no_number(kit: Kit) -> None:
    """Without held-out negatives; without stolen models, as in a light kit."""
    no_negatives = replace(kit, info=replace(kit.info, false_accusations=None))
    assert "label: 75% of stolen, an unknown share of other models" in kit_tags(no_negatives)["answer"]
    no_stolen = replace(kit, info=replace(kit.info, power={LABEL: {"weighted_errors": {}}}))
    assert "label: an unknown share of stolen, 0% of other models" in kit_tags(no_stolen)["answer"]
