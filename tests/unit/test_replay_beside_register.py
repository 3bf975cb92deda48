"""`--replay` beside a register: it judges looks that the register holds, by the transcripts that it decided by."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forgery import forged
from toy_kit import churn_kit

from uapfp_dist.errors import UserError
from uapfp_dist.launch.verification import kit_register, replay_beside
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.record_chain import chain_line
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kit for three suspects, with its register."""
    kit = churn_kit("light", 59)
    kit = replace(kit, info=replace(kit.info, max_suspects=3))
    Register.open(register_path(tmp_path / "kit"), save_kit(kit, tmp_path / "kit"), create=True)
    return tmp_path / "kit"


@pytest.fixture
def kit(folder: Path) -> Kit:
    """As it is read."""
    return load_kit(folder)


def suspect(function: str, name: str = "s") -> SuspectConfig:
    """A function of the toy suspects."""
    return SuspectConfig(at=f"toy_suspects:{function}", name=name)


def look(kit: Kit, folder: Path, out: Path, function: str = "copied") -> JudgedSuspect:
    """One that the register holds."""
    return verify(kit, [suspect(function)], out, QueryConfig(anyway=True), register=kit_register(kit, folder))[0]


def refusal(kit: Kit, folder: Path, path: Path) -> str:
    """The one line."""
    with pytest.raises(UserError) as refused:
        replay_beside(kit, folder, [path])
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_a_look_that_the_register_does_not_hold(kit: Kit, folder: Path, tmp_path: Path) -> None:
    """Of several looks without a register the best one would be shown beside an empty one."""
    verify(kit, [suspect("copied")], tmp_path / "out")
    path = transcript_path(tmp_path / "out", "s")
    assert "expected a look that the register" in refusal(kit, folder, path)
    register_path(folder).unlink()
    (case,) = replay_beside(kit, folder, [path])
    assert (case.verdict.claim, case.verdict.register) == ("piracy", None)


def answers_of_the_victim(kit: Kit) -> Callable[[list[dict[str, Any]]], None]:
    """All answers of a transcript become the victim's."""

    def change(records: list[dict[str, Any]]) -> None:
        sent = {record["batch"]: record["images"] for record in records if record["kind"] == "sent"}
        for record in records:
            if record["kind"] == "answered":
                record["answers"] = [kit.victim[i].tolist() for i in sent[record["batch"]]]

    return change


def test_other_answers_than_were_decided_by(kit: Kit, folder: Path, tmp_path: Path) -> None:
    first = look(kit, folder, tmp_path / "out", "noisy")
    assert first.verdict.claim == "inconclusive"
    path = forged(tmp_path / "out", tmp_path / "forged", answers_of_the_victim(kit))
    assert f"expected the one of SHA-256 {first.sha256[:16]}" in refusal(kit, folder, path)


def test_another_alpha_is_another_test(kit: Kit, folder: Path, tmp_path: Path) -> None:
    look(kit, folder, tmp_path / "out")
    path = forged(tmp_path / "out", tmp_path / "forged", lambda records: records[0]["judged"].update(alpha=0.5))
    assert "it has none that begins so" in refusal(kit, folder, path)


def test_another_p_value_than_the_register_says(kit: Kit, folder: Path, tmp_path: Path) -> None:
    """As of a kit or code that is not the one that decided."""
    look(kit, folder, tmp_path / "out")
    last, lines = "", b""
    for line in register_path(folder).read_text().splitlines():
        record = json.loads(line)["record"]
        record |= {"p_value": 0.25} if record["kind"] == "decided" else {}
        record.pop("p_adjusted", None)
        line_of, last = chain_line(last, json.dumps(record).encode())
        lines += line_of
    register_path(folder).write_bytes(lines)
    said = refusal(kit, folder, transcript_path(tmp_path / "out", "s"))
    assert "expected p 0.25, as the register" in said
    assert "got 0.0166667" in said


def test_one_that_could_not_be_reached_is_in_no_register(kit: Kit, folder: Path, tmp_path: Path) -> None:
    """It was judged with the others, and is replayed with them."""
    gone = SuspectConfig(at="http://127.0.0.1:1/", name="gone")
    once = QueryConfig(tries=1, timeout=1.0)
    cases = verify(kit, [suspect("copied"), gone], tmp_path / "out", once, register=kit_register(kit, folder))
    again = replay_beside(kit, folder, [transcript_path(tmp_path / "out", name) for name in ("s", "gone")])
    assert [case.verdict.claim for case in again] == [case.verdict.claim for case in cases]
    assert again[0].verdict.p_adjusted == cases[0].verdict.p_adjusted


def test_a_replay_elsewhere_with_kit_register_and_transcript(kit: Kit, folder: Path, tmp_path: Path) -> None:
    first = look(kit, folder, tmp_path / "out")
    elsewhere = tmp_path / "elsewhere" / "copy"
    save_kit(kit, elsewhere)
    register_path(elsewhere).write_bytes(register_path(folder).read_bytes())
    (again,) = replay_beside(load_kit(elsewhere), elsewhere, [transcript_path(tmp_path / "out", "s")])
    assert again.verdict.claim == first.verdict.claim == "piracy"
    assert again.verdict.p_adjusted == first.verdict.p_adjusted
