"""Several commands at once by one register: none gives back, or takes away, what another has reserved."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from toy_kit import churn_kit

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification import verify as module
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import stored_begin, write_results
from uapfp_dist.verification.looks import test_of as id_of
from uapfp_dist.verification.querying import transcript_files
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.suspect_task import Interrupted
from uapfp_dist.verification.verify import Task, verify

pytestmark = pytest.mark.usefixtures("quick_retries")

SUSPECT = SuspectConfig(at="toy_suspects:copied", name="s")


def kit_for(max_suspects: int) -> Kit:
    kit = churn_kit("light", 59)
    return with_digest(replace(kit, info=replace(kit.info, max_suspects=max_suspects)))


@pytest.fixture
def kit() -> Kit:
    return kit_for(3)


@pytest.fixture
def path(kit: Kit, tmp_path: Path) -> Path:
    """Of a new register."""
    return Register.open(tmp_path / "r.jsonl", kit.digest, create=True).path


def looks(path: Path, kit: Kit) -> list[tuple[str, float]]:
    return [(look.name, look.p_value) for look in Register.open(path, kit.digest).looks]


def between(kit: Kit, path: Path, out: Path) -> list[str]:
    """What a second command in the same folder says, while the workers of a first one start; then the first goes on."""
    said: list[str] = []

    def map_tasks(task: Task, suspects: Sequence[SuspectConfig]) -> list[Interrupted | None]:
        try:
            gone = QueryConfig(tries=1, total_timeout=1e-9)
            verify(kit, [SUSPECT], out, gone, register=Register.open(path, kit.digest))
        except UserError as error:
            said.append(str(error))
        return [task(one) for one in suspects]

    (case,) = verify(kit, [SUSPECT], out, register=Register.open(path, kit.digest), map_tasks=map_tasks)
    assert case.verdict.claim == "piracy"
    return said


def test_a_second_command_in_the_same_folder_is_refused(kit: Kit, path: Path, tmp_path: Path) -> None:
    (said,) = between(kit, path, tmp_path / "out")
    assert "another verification is running in" in said
    assert said.isprintable()
    assert looks(path, kit) == [("s", pytest.approx(1 / 60))]
    assert verify(kit, [SUSPECT], tmp_path / "out", register=Register.open(path, kit.digest))


def test_where_no_folder_can_be_locked_the_look_counts_all_the_same(
    kit: Kit, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second command gives it back, the first reserves it again when it has a result."""
    monkeypatch.setattr(transcript_files, "try_lock", lambda file: True)
    assert between(kit, path, tmp_path / "out")
    assert looks(path, kit) == [("s", pytest.approx(1 / 60))]


def test_a_result_of_a_look_that_was_given_back_is_no_crash(kit: Kit, path: Path, tmp_path: Path) -> None:
    register = Register.open(path, kit.digest)
    (case,) = verify(kit, [SUSPECT], tmp_path / "out")
    write_results(register, [case], {"s": "somebody"})
    begin = stored_begin(transcript_path(tmp_path / "out", "s"))
    assert begin is not None
    assert [(look.test, look.operator) for look in register.looks] == [(id_of(begin), "somebody")]


def test_commands_at_once_look_at_no_more_than_the_kit_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts before any reserves; the number is counted again where nobody else comes between."""
    kit = kit_for(2)
    path = Register.open(tmp_path / "r.jsonl", kit.digest, create=True).path
    all_counted, said, claims = threading.Barrier(4), list[str](), list[str]()
    really = module.make_folder

    def make_folder(*given: object) -> None:
        all_counted.wait(30)
        really(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "make_folder", make_folder)

    def command(i: int) -> None:
        suspect = replace(SUSPECT, name=f"n{i}", operator=f"o{i}")
        try:
            (case,) = verify(kit, [suspect], tmp_path / str(i), register=Register.open(path, kit.digest))
            claims.append(case.verdict.claim)
        except UserError as error:
            said.append(str(error))

    threads = [threading.Thread(target=command, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert claims == ["piracy"] * 2
    assert len(said) == 2
    assert all("at most 2 at alpha 0.05, got 1 after 2 tested with it before" in one for one in said)
    assert len(looks(path, kit)) == 2
