"""A finished transcript stays as it is: its bytes are evidence, and a worker that is lost afterwards takes nothing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from toy_kit import churn_kit

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying.records import End, Stopped
from uapfp_dist.verification.querying.transcript import Transcript, stored_records
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.suspect_task import Interrupted
from uapfp_dist.verification.verify import Task, verify

pytestmark = pytest.mark.usefixtures("quick_retries")

SUSPECTS = [SuspectConfig(at="toy_suspects:copied", name=name, operator=name) for name in "st"]


def test_nothing_comes_after_the_end(tmp_path: Path) -> None:
    kit = churn_kit("light", 59)
    (case,) = verify(kit, SUSPECTS[:1], tmp_path)
    path = transcript_path(tmp_path, "s")
    transcript = Transcript(path, case.begin)
    transcript.stopped("its worker was lost")
    transcript.close()
    assert isinstance(stored_records(path)[-1], End)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == case.sha256
    assert replay(kit, [path])[0].verdict.claim == "piracy"


@pytest.mark.parametrize("n_suspects", [1, 2])
def test_a_worker_that_is_lost_when_all_was_done(n_suspects: int, tmp_path: Path) -> None:
    def lost(task: Task, suspects: Sequence[SuspectConfig]) -> list[Interrupted | None]:
        assert [task(one) for one in suspects] == [None] * n_suspects
        return [Interrupted("the worker was lost", lost=True)] * n_suspects

    cases = verify(churn_kit("light", 59), SUSPECTS[:n_suspects], tmp_path, map_tasks=lost)
    assert [(case.verdict.claim, case.stopped) for case in cases] == [("piracy", "")] * n_suspects


def test_one_that_was_lost_before_the_end_says_so(tmp_path: Path) -> None:
    def lost(task: Task, suspects: Sequence[SuspectConfig]) -> list[Interrupted | None]:
        return [task(suspects[0]), Interrupted("the worker was lost", lost=True)]

    cases = verify(churn_kit("light", 59), SUSPECTS, tmp_path, map_tasks=lost)
    assert [case.stopped for case in cases] == ["", "the worker was lost"]
    assert isinstance(stored_records(transcript_path(tmp_path, "t"))[-1], Stopped)
