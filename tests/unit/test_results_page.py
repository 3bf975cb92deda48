"""The page of results: generated, up to date, and it refuses what is missing or broken."""

import json
import shutil
from pathlib import Path

import pytest
from commands import run
from system import ROOT

from uapfp_dist.errors import UserError
from uapfp_dist.results.index import Measurement, Results, read_results
from uapfp_dist.results.kits import kit_power_section, kit_robustness_section
from uapfp_dist.results.page import page, write_page
from uapfp_dist.serialization import to_json
from uapfp_dist.verification.judging.accusation_rates import AccusationRates, FormatRates
from uapfp_dist.verification.robustness.judged import JudgedModel, JudgedSuspects

RESULTS = ROOT / "jobs" / "results"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: `uapfp results`."""
    assert (RESULTS / "README.md").read_text() == page(read_results(RESULTS))


def test_every_file_of_results_is_on_the_page() -> None:
    text = (RESULTS / "README.md").read_text()
    shown = {path.name for path in RESULTS.iterdir()} - {"README.md", "index.json"}
    assert [name for name in sorted(shown) if f"({name})" not in text] == []


def test_every_measurement_says_when_on_what_and_how() -> None:
    for measurement in read_results(RESULTS).measurements:
        assert measurement.hardware
        assert measurement.command.startswith(("uapfp ", "sudo ", "pytest ", "python jobs/"))
        assert measurement.date.startswith("2026-")
        assert measurement.disclosures


HEADLINE = {"title": "x", "kind": "headline", "date": "2026-01-01", "hardware": "h", "command": "c"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            json.dumps({"introduction": "", "measurements": [HEADLINE, HEADLINE]}),
            "whose picture is headline.png, got x and x",
        ),
        (None, "No such file"),
        ("{", "expected JSON"),
        ('{"introduction": ""}', "expected an index of results (measurements"),
        ('{"introduction": "", "measurements": [{"title": "x", "kind": "poetry"}]}', "kind"),
    ],
)
def test_a_broken_index_is_one_line(content: str | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError) as refused:
        write_page(tmp_path)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "README.md").exists()


def _index(folder: Path, **fields: object) -> None:
    measurement = {"title": "x", "kind": "seeds", "date": "2026-01-01", "hardware": "h", "command": "c"} | fields
    (folder / "index.json").write_text(json.dumps({"introduction": "", "measurements": [measurement]}))


def test_a_missing_or_foreign_file_is_one_line(tmp_path: Path) -> None:
    _index(tmp_path, files=["a.json"])
    with pytest.raises(UserError, match=r"expected a\.json beside it, found none"):
        write_page(tmp_path)
    (tmp_path / "a.json").write_text('{"seed": 0}')
    with pytest.raises(UserError, match=r"a\.json: report: expected one of an evaluation"):
        write_page(tmp_path)
    _index(tmp_path, kind="kit_power", files=["a.json"])
    with pytest.raises(UserError, match="expected files of kit_power"):
        write_page(tmp_path)


def _rates(stolen: int, negative: int) -> FormatRates:
    found = AccusationRates(
        power={"all": (stolen, 10), "knockoff:hard": (stolen, 10)},
        false_accusations={"all": (negative, 4), "homologous": (negative, 4)},
    )
    nothing = AccusationRates(power={}, false_accusations={})
    return FormatRates("weighted_churn", 100, uap=nothing, weighted_errors=nothing, churn=found)


def test_rates_of_kits_are_added_up_and_the_worst_is_shown() -> None:
    text, _ = kit_power_section([("at most 100 images", [_rates(9, 0), _rates(5, 1), _rates(10, 0)])])
    rows = {row.split(" | ")[0].strip("| *"): row.split(" | ")[1].strip("| ") for row in text.splitlines()}
    assert rows["stolen"].startswith("0.80 [")
    assert rows["stolen"].endswith("(24/30)")
    assert rows["stolen, the worst zoo"] == "5/10"
    assert rows["independent models"].endswith("(1/12)")


def test_modified_models_are_accused_at_alpha_itself() -> None:
    """p .05 at alpha .05 is an accusation; .06 is none."""
    judged = [JudgedModel("piracy", "as it is", "A", 0.9, {"100": p}) for p in (0.05, 0.06)]
    honest = JudgedModel("homologous", "as it is", "B", 0.8, {"100": 1.0})
    text = "\n".join(kit_robustness_section([*judged, honest], 0.05))
    assert "| stolen | as it is | 2 | 0.900 | 1/2 [" in text
    assert "| independent | as it is | 1 | 0.800 | 0/1 [" in text


def test_modified_models_are_accused_at_the_alpha_of_their_file(tmp_path: Path) -> None:
    """A file of before is a list, of a kit whose alpha was .05."""
    judged = [JudgedModel("piracy", "as it is", "A", 0.9, {"100": p}) for p in (0.01, 0.03, 0.2)]
    _index(tmp_path, kind="kit_robustness", files=["a.json"])
    (tmp_path / "a.json").write_text(json.dumps([to_json(one) for one in judged]))
    text = write_page(tmp_path).read_text()
    assert "| stolen | as it is | 3 | 0.900 | 2/3 [" in text
    assert "accused at p" not in text
    (tmp_path / "a.json").write_text(json.dumps(to_json(JudgedSuspects("`x`, seed 7, float32", 0.05 / 3, judged))))
    text = write_page(tmp_path).read_text()
    assert "| stolen | as it is | 3 | 0.900 | 1/3 [" in text
    assert "\n`x`, seed 7, float32: accused at p up to 0.0167.\n" in text
    (tmp_path / "a.json").write_text('{"judged": []}')
    with pytest.raises(UserError, match="expected files of kit_robustness"):
        write_page(tmp_path)


def test_numbers_without_a_file_are_a_table(tmp_path: Path) -> None:
    _index(tmp_path, kind="numbers", rows=[{"what": "a | b", "value": "3x"}], disclosures=["one run"])
    text = write_page(tmp_path).read_text()
    assert r"| a \| b | 3x |" in text
    assert "- one run" in text
    assert isinstance(read_results(tmp_path), Results)
    assert isinstance(read_results(tmp_path).measurements[0], Measurement)


def _death(victim: str, survived: bool, **count: object) -> dict[str, object]:
    counted = {"made": 60, "in_flight": 0, "made_again": 0, "stored_again": 0, "unseen": 0, "beyond": []} | count
    run = {"kind": "evaluation", "seed": 7, "survived": survived, "verdicts_equal": True, "seconds": 60.0}
    return run | {"fault": {"victim": victim}, "count": counted, "recovery_seconds": 9.4}


def test_deaths_are_added_up_by_victim(tmp_path: Path) -> None:
    """One that was not survived stands out; seconds are shown where there was anything to recover."""
    runs = [
        _death("driver", True, in_flight=3, made_again=2),
        _death("driver", False, in_flight=1, made_again=2, beyond=["model/x"]),
        _death("S3 server", True),
    ]
    (tmp_path / "a.json").write_text(json.dumps({"runs": runs}))
    _index(tmp_path, kind="deaths", files=["a.json"])
    text = write_page(tmp_path).read_text()
    assert "| S3 server | 1 of 1 | 1 of 1 | 0 | 0 | 0 | 0 | - |" in text
    assert "| driver | 1 of 2 | 2 of 2 | 4 | 4 | 0 | 1 | 9 (9) |" in text
    assert "| **all** | 2 of 3 | 3 of 3 |" in text


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    (folder / "README.md").unlink()
    run("results", "--folder", str(folder))
    assert (folder / "README.md").read_text() == page(read_results(RESULTS))
    assert str(folder / "README.md") in capsys.readouterr().out
