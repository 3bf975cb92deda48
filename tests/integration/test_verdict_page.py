"""What a verdict shows: JSON, page, text, metrics."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from toy_kit import toy_kit

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.reports.verdict_file import verdict_json, verdict_schema
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_metrics import verdict_metrics, verdict_tags
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JudgedSuspect]]:
    """Two suspects, one with a name that would break a page."""
    out, kit = tmp_path_factory.mktemp("shown"), toy_kit("uap")
    configs = [
        SuspectConfig(at="toy_suspects:copied", name="<script>alert(1)</script> $x_1$"),
        SuspectConfig(at="toy_suspects:noisy", name="noisy"),
    ]
    cases = verify(kit, configs, out, alpha=0.2)
    write_verdict(out, kit, cases)
    return out, cases


def test_the_json_is_as_published(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    out = shown[0]
    found = json.loads((out / "verdict.json").read_text(), parse_constant=pytest.fail)
    jsonschema.Draft202012Validator.check_schema(verdict_schema())
    jsonschema.validate(found, json.loads((out / "verdict.schema.json").read_text()))
    assert found["kit"] == toy_kit("uap").digest
    assert [s["claim"] for s in found["suspects"]] == ["piracy", "inconclusive"]
    for key in ("claim", "p_value", "similarity_std", "p_value_t_test", "queries_sent", "alpha", "power", "limits"):
        broken = json.loads(json.dumps(found))
        del broken["suspects"][0][key]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, verdict_schema())


def test_the_page_shows_where_the_suspect_falls_and_loads_nothing(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    text = (shown[0] / "verdict.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    # Where each falls, its answers moved by the perturbation, and the victim's errors.
    assert text.count("<img ") == 6
    for said in (
        "falls among",
        "how the response moved",
        "inconclusive",
        "same answer to every image",
        "does not mean independent",
    ):
        assert said in text
    assert 'src="http' not in text


def test_the_text_says_what_a_reader_needs(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    text = verdict_text(toy_kit("uap"), shown[1])
    for said in (
        "piracy",
        "p 0.05",
        "alpha 0.2",
        "paper's t-test",
        "images sent",
        "! the same answer",
        "2 of 2 held-out",
    ):
        assert said in text
    assert len(text.splitlines()) < 30


def test_metrics_are_numbers(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    for case in shown[1]:
        assert verdict_tags(case)["claim"] == case.verdict.claim
        assert all(np.isfinite(value) for value in verdict_metrics(case).values())


def test_a_verdict_does_not_depend_on_when_it_was_made(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    kit, (out, cases) = toy_kit("uap"), shown
    again = replay(kit, [transcript_path(out, case.verdict.name) for case in cases])
    assert json.dumps(verdict_json(kit, again)) == json.dumps(verdict_json(kit, cases))
