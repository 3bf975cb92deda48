"""One suspect by a kit of churn points: its claim, the page and the text, and a replay of its transcript."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from forgery import forged
from toy_kit import BUDGETS, N_SETS, churn_kit
from watched_suspects import asked, sets_of, suspect

from uapfp_dist.errors import UserError
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import other_looks, stored_begin
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_file import verdict_schema
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.mark.parametrize("size", ["light", "full"])
@pytest.mark.parametrize(("function", "claim"), [("copied", "piracy"), ("fair", "inconclusive")])
def test_the_right_claim(size: str, function: str, claim: str, tmp_path: Path) -> None:
    """Alone, by the first set, with all that a reader needs in JSON, text and page."""
    kit = churn_kit(size)
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    cases = verify(kit, [suspect(function)], tmp_path / "out", register=register)
    verdict = cases[0].verdict
    assert (verdict.claim, verdict.decided_by) == (claim, "churn" if size == "light" else "weighted_churn")
    assert verdict.churn is not None
    assert (verdict.churn.agreed, verdict.churn.of) == (20 if function == "copied" else 0, 20)
    assert verdict.register is not None
    assert verdict.register.looks == 1
    assert Register.open(register.path, kit.digest).contains(verdict.register.head)
    write_verdict(tmp_path / "out", kit, cases)
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())
    jsonschema.validate(found, verdict_schema())
    assert found["suspects"][0]["churn"]["point_set"] == 0
    page, text = (tmp_path / "out" / "verdict.html").read_text(), verdict_text(kit, cases)
    derived = f"{function}: piracy, derived from the victim or its answers."
    assert (derived in text) == (derived in page) == (function == "copied")
    # Churn points, where the suspect falls, how it adds up; a full kit shows images of the methods beside, too.
    assert page.count("<img ") == (3 if size == "light" else 5)
    for said in (
        "whoever labelled images with the victim",
        "models stolen from a sibling of the victim",
        "adds up, image by image",
    ):
        assert said in page
    assert ("without a claim" in page) == (size == "full")
    assert f"1 look with this kit, head before the result {verdict.register.head[:16]}" in text
    assert verdict.register.head in page


def test_a_replay_gives_the_same_bits(kit: Kit, register: Register, tmp_path: Path) -> None:
    """From transcripts and the register's other looks alone; without the register, by Holm over those alone."""
    verify(kit, [suspect("fair")], tmp_path / "a", register=register)
    cases = verify(kit, [suspect("garbled")], tmp_path / "b", QueryConfig(anyway=True), register=register)
    path = transcript_path(tmp_path / "b", "garbled")
    begin = stored_begin(path)
    assert begin is not None
    again = Register.open(register.path, kit.digest)
    looked = replace(other_looks(kit, again, [begin]), register_head=cases[0].verdict.register.head)  # type: ignore[union-attr]
    moved = Path(shutil.copy(path, tmp_path / "elsewhere"))
    for where, found in (("first", cases), ("second", replay(kit, [moved], looked))):
        write_verdict(tmp_path / where, kit, found)
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert cases[0].verdict.churn is not None
    assert 0 < cases[0].verdict.churn.of < 20
    alone = replay(kit, [moved])[0].verdict
    assert alone.register is None
    assert alone.p_value == cases[0].verdict.p_value


def test_a_budget_buys_fewer_points(kit: Kit, register: Register, tmp_path: Path) -> None:
    case = verify(kit, [suspect()], tmp_path, QueryConfig(max_queries=12 + 15), register=register)[0]
    assert case.verdict.churn is not None
    assert case.verdict.churn.of == BUDGETS[0]
    assert case.verdict.claim == "piracy"
    assert sum(asked) <= 27
    with pytest.raises(UserError, match="max_queries: expected at least 22 images, got 21"):
        verify(kit, [suspect("fair")], tmp_path / "b", QueryConfig(max_queries=21), register=register)
    assert len(sets_of(register)) == 1


@pytest.mark.parametrize("point_set", [N_SETS, -1, 10**9])
def test_a_transcript_of_a_set_that_is_none(point_set: int, kit: Kit, tmp_path: Path) -> None:
    verify(kit, [suspect(name="s")], tmp_path)
    path = forged(tmp_path, tmp_path / "forged", lambda records: records[0].update(point_set=point_set))
    with pytest.raises(UserError, match=f"expected one of the 3 sets of the kit's churn points, got {point_set}"):
        replay(kit, [path])


def test_a_transcript_of_another_set_than_was_sent(kit: Kit, register: Register, tmp_path: Path) -> None:
    """Its answers are not to those images; and to the register it is another test."""
    verify(kit, [suspect(name="s")], tmp_path / "a", register=register)
    path = forged(tmp_path / "a", tmp_path / "forged", lambda records: records[0].update(point_set=1))
    with pytest.raises(UserError, match="just the images that the kit requires"):
        replay(kit, [path])
    begin, other = stored_begin(transcript_path(tmp_path / "a", "s")), stored_begin(path)
    assert begin is not None
    assert other is not None
    assert len(other_looks(kit, register, [begin]).p_values) == 0
    assert len(other_looks(kit, register, [other]).p_values) == 1


def test_without_a_register_everybody_is_sent_the_first_set(kit: Kit, tmp_path: Path) -> None:
    for where in ("a", "b"):
        verdict = verify(kit, [suspect()], tmp_path / where)[0].verdict
        assert verdict.register is None
        assert verdict.churn is not None
        assert verdict.churn.point_set == 0
        assert any("of several, all must be told" in limit for limit in verdict.limits)
