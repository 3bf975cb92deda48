"""jobs/submit.py with a client that never leaves this process: each way in which a submission ends."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
import submit
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus
from submit import SubmissionError, Waits, connect, follow
from system import free_ports, wait_until

from uapfp_dist.command import main
from uapfp_dist.concurrency import is_foreign_code_running

Value = TypeVar("Value")
TEST_OVER = threading.Event()
"""Ends what hangs."""
WAITS = Waits(connect=20.0, submit=0.2, silence=0.05, answer=0.2, lost=0.2, pause=0.01)
LOST = r"^lost the head under job raysubmit_1 \({}\); if it died, start it again and submit the same command again: "


def details(status: JobStatus, message: str | None = None, code: int | None = None) -> JobDetails:
    """How a job is."""
    return JobDetails(type="SUBMISSION", status=status, entrypoint="ls", message=message, driver_exit_code=code)


RUNNING, SUCCEEDED = details(JobStatus.RUNNING), details(JobStatus.SUCCEEDED)


@dataclass
class Fake:
    """A head.

    Args:
        said: the output of its job.
        then: what comes of the connection after it: its end, an error, or (None) silence.
        answers: to questions how the job is, one after the other, the last one for ever; None: silence.
    """

    said: tuple[str, ...] = ()
    then: Exception | str | None = "end"
    answers: list[JobDetails | Exception | None] = field(default_factory=lambda: [SUCCEEDED])
    submission: Exception | str | None = "raysubmit_1"
    asked: int = 0
    submitted: tuple[str, dict[str, str]] | None = None
    at_silence: Callable[[], None] = lambda: None

    def submit_job(self, *, entrypoint: str, runtime_env: dict[str, str]) -> str:
        self.submitted = entrypoint, runtime_env
        return _give(self.submission)

    def get_job_info(self, job_id: str) -> JobDetails:
        assert job_id == "raysubmit_1"
        self.asked += 1
        return _give(self.answers[min(self.asked, len(self.answers)) - 1])

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        assert job_id == "raysubmit_1"
        for text in self.said:
            yield text
        if self.then is None:
            self.at_silence()
            await asyncio.sleep(60.0)
        if isinstance(self.then, Exception):
            raise self.then


def _give(value: Value | Exception | None) -> Value:
    if value is None:
        TEST_OVER.wait(60.0)
        raise ConnectionError
    if isinstance(value, Exception):
        raise value
    return value


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of Ray's variables names one; no thread outlasts a test."""
    for name in submit.PREFERRED:
        monkeypatch.delenv(name, raising=False)
    TEST_OVER.clear()
    yield
    TEST_OVER.set()
    wait_until(lambda: not is_foreign_code_running(), 10.0, "threads to end")


def ends(fake: Fake) -> str:
    """The line at the end of a job that is followed; empty if it succeeded."""
    try:
        follow(fake, "raysubmit_1", WAITS)
    except SubmissionError as error:
        return str(error)
    return ""


def test_a_job_that_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(Fake(("a\nb", "c\nd"))) == ""
    assert capsys.readouterr().out == "a\nbc\nd\n", "as it came, and the line is ended"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            details(JobStatus.FAILED, "last logs:\nx", 3),
            "job raysubmit_1 failed with exit code 3; its last lines say why",
        ),
        (details(JobStatus.FAILED, "its node\ndied"), "job raysubmit_1 failed (its node died); once that is mended"),
        (details(JobStatus.STOPPED), "job raysubmit_1 was stopped; to go on, submit the same command again"),
    ],
)
def test_a_job_that_does_not_succeed(answer: JobDetails, line: str) -> None:
    assert ends(Fake(answers=[answer])).startswith(line)


@pytest.mark.parametrize("then", [RuntimeError("WebSocket connection closed unexpectedly"), "end", None])
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (ConnectionError("HTTPConnectionPool(...): [Errno 111] Connection refused"), "Connection refused"),
        (
            RuntimeError("Request failed with status code 404:\nno such job."),
            "Request failed with status code 404: no such job",
        ),
        (
            ConnectionError("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))"),
            "Connection reset",
        ),
        (None, "no answer in 0.2 s"),
    ],
)
def test_a_head_that_dies(
    then: Exception | str | None, answer: Exception | None, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its connections break, end, or hang; then it refuses to answer, has forgotten the job, or is silent."""
    fake = Fake(("zoo 1/72",), then, [answer])
    line = ends(fake)
    assert line.startswith(LOST.format("X").replace("\\", "")[1:].replace("X", cause))
    assert line.endswith(
        "what is stored is not computed again; if it lives, the job goes on: `ray job logs --follow raysubmit_1`"
    )
    assert capsys.readouterr().out.startswith("zoo 1/72")


class Breaking(Fake):
    """A head whose connection breaks after one piece more each time."""

    connections: int = 0

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        self.connections += 1
        for text in self.said[: self.connections]:
            yield text
        if self.connections < len(self.said):
            raise RuntimeError("1006")


def test_a_connection_that_breaks_while_the_job_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Its output is asked for again, from the beginning, and each character shown once."""
    fake = Breaking(("zoo 1/72\nzo", "o 2/72\n", "zoo 3/72"), answers=[RUNNING, RUNNING, RUNNING, SUCCEEDED])
    assert ends(fake) == ""
    assert capsys.readouterr().out == "zoo 1/72\nzoo 2/72\nzoo 3/72\n"
    assert fake.connections == 4


def test_a_job_that_ends_soon_after_its_output() -> None:
    fake = Fake(answers=[RUNNING, ConnectionError(), RUNNING, SUCCEEDED])
    assert ends(fake) == ""
    assert fake.asked == 4


def test_a_job_that_is_silent_for_long() -> None:
    """It is asked for, in vain at times, for longer than a head is given that is lost; then its connection hangs."""
    answers: list[JobDetails | Exception | None] = [RUNNING, ConnectionError(), RUNNING, TimeoutError()] * 5
    fake = Fake(then=None, answers=[*answers, SUCCEEDED])
    assert ends(fake) == ""
    assert fake.asked >= len(answers)


def test_output_that_comes_after_a_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it is shown, also where the job had ended when the head was asked."""
    fake = Fake(("late\n", "later\n"))
    tail = fake.tail_job_logs

    async def slow(job_id: str) -> AsyncIterator[str]:
        while not fake.asked:
            await asyncio.sleep(0.005)
        async for text in tail(job_id):
            yield text

    fake.tail_job_logs = slow  # type: ignore[method-assign]
    assert ends(fake) == ""
    assert capsys.readouterr().out == "late\nlater\n"


# --- submission


def test_what_is_submitted() -> None:
    fake = Fake()
    assert submit.submit(fake, ["python", "a b.py", "--x", "$HOME"], WAITS) == "raysubmit_1"
    assert fake.submitted == ("python 'a b.py' --x '$HOME'", {"working_dir": "."})


@pytest.mark.parametrize(
    ("submission", "line"),
    [
        (
            AuthenticationError("Authentication failed:\n\n..."),
            "expected the token of the head, got none or another; set ",
        ),
        (
            ValueError("Package size (600 MiB)\nexceeds 512 MiB."),
            "the job could not be submitted (Package size (600 MiB) exceeds",
        ),
        (None, "the job could not be submitted (no answer in 0.2 s)"),
    ],
)
def test_a_submission_that_fails(submission: Exception | None, line: str) -> None:
    with pytest.raises(SubmissionError) as error:
        submit.submit(Fake(submission=submission), ["ls"], WAITS)
    assert str(error.value).startswith(line)
    assert len(str(error.value).splitlines()) == 1


def test_no_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the address without its password, and a variable that Ray prefers: beside another, refused."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with pytest.raises(
        SubmissionError, match=rf"^expected the head of a cluster at {address}, could not reach it \(.*; "
    ):
        connect(f"http://me:secret@127.0.0.1:{port}", WAITS)
    monkeypatch.setenv("RAY_ADDRESS", f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(SubmissionError, match=rf"; RAY_ADDRESS={address} is set; ") as error:
        connect(None, WAITS)
    assert "secret" not in str(error.value)
    with pytest.raises(SubmissionError, match=rf"expected one address, .*RAY_ADDRESS={address}, which .*") as error:
        connect("http://127.0.0.1:1", WAITS)
    assert "secret" not in str(error.value)


# --- the command


def run(monkeypatch: pytest.MonkeyPatch, fake: Fake, *arguments: str) -> int:
    """The script's exit code."""
    monkeypatch.setattr(sys, "argv", ["jobs/submit.py", *arguments])
    monkeypatch.setattr(submit, "connect", lambda address, waits: fake)
    monkeypatch.setattr(submit, "Waits", lambda: WAITS)
    monkeypatch.setattr("logging.disable", lambda level: None)
    with pytest.raises(SystemExit) as end:
        main(submit.job)
    return int(end.value.code or 0)


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake(("hello\n",))
    assert run(monkeypatch, fake, "--address", "x", "--", "sh", "--", "-c") == 0
    assert fake.submitted == ("sh -- -c", {"working_dir": "."})
    assert capsys.readouterr() == ("job raysubmit_1 has been submitted\nhello\njob raysubmit_1 succeeded\n", "")
    assert run(monkeypatch, Fake(answers=[details(JobStatus.FAILED, code=2)]), "--", "ls") == 1
    assert capsys.readouterr().err.startswith("submit: error: job raysubmit_1 failed with exit code 2; ")


@pytest.mark.parametrize(("arguments", "got"), [((), "no --"), (("ls",), ""), (("--address", "x", "--"), "--")])
def test_no_command(
    arguments: tuple[str, ...], got: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake()
    assert run(monkeypatch, fake, *arguments) == 2
    assert f"got {got}" in capsys.readouterr().err or not got
    assert fake.submitted is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_what_is_shown(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(then=None, answers=[RUNNING], at_silence=lambda: os.kill(os.getpid(), number))
    assert run(monkeypatch, fake, "--", "ls") == 130
    assert capsys.readouterr().err == (
        "job raysubmit_1 goes on; `ray job logs --follow raysubmit_1` shows it, `ray job stop raysubmit_1` stops it\n"
    )
