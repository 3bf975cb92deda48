"""`ray job submit --working-dir .` with one line at every end, also where the head of the cluster dies:

    python jobs/submit.py --address http://127.0.0.1:8265 -- python jobs/full_eval.py --storage /shared/results

What follows `--` runs on the cluster, in a copy of this folder without what .gitignore and .rayignore name (512 MiB at
most). Its output is shown here; Ctrl-C ends that, and the job goes on. Address and token come from Ray's variables,
as for `ray job submit`.

Exit code 0: the job succeeded; 1: it failed or was stopped, or the head refuses, cannot be reached, or is lost; 2: no
command, or an unknown option; 130: Ctrl-C.
"""

import asyncio
import logging
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import tyro
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from uapfp_dist.command import main
from uapfp_dist.concurrency import HungError, run_within
from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line

PREFERRED = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray prefers to an address that it is given, in its order."""
REFUSED = (
    "expected the token of the head, got none or another; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
    "~/.ray/auth_token as there"
)
KNOWN = "Connection refused|Connection reset|Remote end closed connection|No route to host|Name or service not known"
"""What Ray's client wraps in much else."""
AGAIN = "submit the same command again: what is stored is not computed again"


@dataclass(frozen=True)
class Submit:
    """Submit a job and show its output."""

    address: str | None = None
    """The dashboard of the head, http://HOST:8265; None: that of RAY_ADDRESS, else that of this machine."""


@dataclass(frozen=True)
class Waits:
    """The longest waits, in seconds. Ray's client has none of its own."""

    connect: float = 30.0
    submit: float = 600.0
    """The folder is packed and uploaded."""
    silence: float = 15.0
    """Without output, before the head is asked whether the job still runs."""
    answer: float = 10.0
    """For an answer to that."""
    lost: float = 30.0
    """Without any answer, after which the head is lost."""
    pause: float = 2.0
    """Before it is asked again."""


class Client(Protocol):
    """What is used of Ray's client."""

    def submit_job(self, *, entrypoint: str, runtime_env: dict[str, str]) -> str:
        """Submit a job; returns its id."""

    def get_job_info(self, job_id: str) -> JobDetails:
        """How a job is."""

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """A job's output, from its beginning to its end."""


class SubmissionError(Exception):
    """There is no job that succeeded. The message is one line for a person."""


def connect(address: str | None, waits: Waits) -> Client:
    """A client of the head.

    Raises:
        SubmissionError: no Ray answers there, or it refuses the token.
    """
    variable = next((name for name in PREFERRED if os.environ.get(name)), None)
    set_there = f"; {variable}={os.environ[variable]} is set" if variable else ""
    if address is not None and variable and os.environ[variable] != address:
        raise SubmissionError(
            f"expected one address, got --address {without_password(address)} and "
            f"{variable}={without_password(os.environ[variable])}, which Ray would prefer; leave one out"
        )
    try:
        return run_within(lambda: JobSubmissionClient(address), waits.connect)
    except AuthenticationError as error:
        raise SubmissionError(REFUSED) from error
    except Exception as error:
        where = "there" if address is None else f"at {address}"
        raise SubmissionError(
            without_password(
                f"expected the head of a cluster {where}, could not reach it ({cause(error, waits.connect)})"
                f"{set_there}; start it, or name the address of its dashboard"
            )
        ) from error


def submit(client: Client, command: list[str], waits: Waits) -> str:
    """Submit the command, which runs in a copy of this folder; returns the id of the job.

    Raises:
        SubmissionError: the head refuses it or does not answer, or the folder is too large.
    """
    line, folder = shlex.join(command), {"working_dir": "."}
    try:
        return run_within(lambda: client.submit_job(entrypoint=line, runtime_env=folder), waits.submit)
    except AuthenticationError as error:
        raise SubmissionError(REFUSED) from error
    except Exception as error:
        raise SubmissionError(f"the job could not be submitted ({cause(error, waits.submit)})") from error


def follow(client: Client, job: str, waits: Waits) -> None:
    """Show the output of a job until its end; where the connection breaks, it is asked for again.

    Raises:
        SubmissionError: it failed or was stopped, or the head is lost.
    """
    shown = _Shown()
    try:
        _show(client, job, shown, waits)
        while not (details := ask(client, job, waits)).status.is_terminal():
            time.sleep(waits.pause)
            _show(client, job, shown, waits)
    finally:
        if shown.last != "\n":
            print(flush=True)
    if details.status == JobStatus.STOPPED:
        raise SubmissionError(f"job {job} was stopped; to go on, {AGAIN}")
    if details.status != JobStatus.SUCCEEDED:
        code = details.driver_exit_code
        why = f" ({one_line(details.message)})" if code is None else f" with exit code {code}; its last lines say why"
        raise SubmissionError(f"job {job} failed{why}; once that is mended, {AGAIN}")


def _stream(client: Client, job: str, output: "SimpleQueue[str | None]") -> None:
    """Put a job's output into a queue, and None at its end."""

    async def pump() -> None:
        async for text in client.tail_job_logs(job):
            output.put(text)

    try:
        asyncio.run(pump())
    except Exception:  # a broken connection tells little: how the job is, the head is asked
        logging.getLogger(__name__).debug("the output of %s broke off", job, exc_info=True)
    finally:
        output.put(None)


@dataclass
class _Shown:
    """What was printed of a job's output."""

    characters: int = 0
    last: str = "\n"


def _show(client: Client, job: str, shown: _Shown, waits: Waits) -> None:
    """Print what comes and was not shown yet, to its end.

    A connection that hangs as after a power cut brings neither output nor end.
    """
    output: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_stream, args=(client, job, output), daemon=True).start()
    ended, come = False, 0
    while True:
        try:
            text = output.get(timeout=waits.silence)
        except Empty:
            if ended:
                return
            ended = ask(client, job, waits).status.is_terminal()
            continue
        if text is None:
            return
        new = text[max(0, shown.characters - come) :]
        come += len(text)
        shown.characters, shown.last = max(shown.characters, come), new[-1:] or shown.last
        print(new, end="", flush=True)


def ask(client: Client, job: str, waits: Waits) -> JobDetails:
    """How a job is.

    Raises:
        SubmissionError: the head does not say for too long.
    """
    until = time.monotonic() + waits.lost
    while True:
        try:
            return run_within(lambda: client.get_job_info(job), waits.answer)
        except Exception as error:
            if time.monotonic() > until:
                raise SubmissionError(
                    f"lost the head under job {job} ({cause(error, waits.answer)}); if it died, start it again and "
                    f"{AGAIN}; if it lives, the job goes on: `ray job logs --follow {job}`"
                ) from error
        time.sleep(waits.pause)


def cause(error: Exception, seconds: float) -> str:
    """Why Ray's client had no answer, in a few words.

    Args:
        error: of the client.
        seconds: that it was given.
    """
    if isinstance(error, HungError):
        return f"no answer in {seconds:g} s"
    if known := re.search(KNOWN, str(error)):
        return known[0]
    return without_password(one_line(error).rstrip("."))


def without_password(text: str) -> str:
    """The same without the passwords of addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def job() -> None:
    """Submit, and show."""
    own, separator, command = sys.argv[1:], "", list[str]()
    if "--" in own:
        place = own.index("--")
        own, separator, command = own[:place], "--", own[place + 1 :]
    chosen, waits = tyro.cli(Submit, args=own, description=__doc__), Waits()
    if not command:
        raise UserError(f"command: expected -- and what is to run, got {separator or 'no --'}; see --help")
    logging.disable(logging.INFO)  # Ray's client tells of each step
    try:
        client = connect(chosen.address, waits)
        number = submit(client, command, waits)
        print(f"job {number} has been submitted", flush=True)
        try:
            follow(client, number, waits)
        except KeyboardInterrupt:
            going_on = f"`ray job logs --follow {number}` shows it, `ray job stop {number}` stops it"
            print(f"job {number} goes on; {going_on}", file=sys.stderr, flush=True)
            raise SystemExit(130) from None
        print(f"job {number} succeeded")
    except SubmissionError as error:
        print(f"submit: error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(job)
