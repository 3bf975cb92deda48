"""Ask a suspect what the kit wants to know: within a budget, at its pace, and never twice what is known already."""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.rng import torch_rng
from uapfp_dist.suspects.suspect import Suspect, TooLargeError, TransientError
from uapfp_dist.verification.query_config import QueryConfig
from uapfp_dist.verification.transcript import Ledger, Transcript

FIRST_BATCH = 4
"""Images in the first request: little is lost to a refusal. While all goes well every answer doubles the next one."""


SLOW_START = 10
"""Answers in a row that it takes to double once there was a failure; a second failure in a row halves."""


FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds before the first further try, doubled for each one after it; more where the endpoint asks for more."""


N_REPEATS = 10
"""Images asked twice, to see whether answers change."""


def questions(wanted: Tensor, seed: int) -> tuple[list[int], list[int]]:
    """(all wanted images in a shuffled order, those of them that are asked again, spread evenly over that order)."""
    shuffled = torch.randperm(len(wanted), generator=torch_rng("questions", seed))
    order: list[int] = wanted[shuffled].tolist()
    return order, order[:: max(1, len(order) // N_REPEATS)][:N_REPEATS]


def query_all(
    suspect: Suspect,
    images: Tensor,
    wanted: Tensor,
    transcript: Transcript,
    how: QueryConfig,
    longest: int = 1 << 16,
    unreadable: Callable[[Sequence[Any]], str] = lambda answers: "",
) -> None:
    """Ask until the transcript holds an answer to every wanted image, and a second one to some if all goes well.

    A finished transcript stays as it is.

    Args:
        suspect: whom to ask.
        images: (Q, c, h, w) uint8, the kit's.
        wanted: (W,) int64 indices of images that must be answered.
        transcript: what was asked before, in earlier runs too; everything is appended to it as it comes.
        how: at what pace, within what limits.
        longest: characters of JSON that an answer to one image may have; a longer one is none.
        unreadable: why none of some answers can be read, or an empty string: where that is so of the very first
            request, the rest would most likely be paid for in vain.

    Raises:
        UserError: budget, time or patience at an end, the suspect refuses, or its first answers are not of the form
            that was named; the transcript keeps what came.
    """
    if not transcript.finished:
        QuerySession(suspect, images, wanted, transcript, how, longest, unreadable).run()


@dataclass(frozen=True)
class _Request:
    batch: int
    images: list[int]
    queue: deque[int]
    """Where its images came from."""


class QuerySession:
    """One thread decides, writes and counts; the others only wait for answers."""

    def __init__(
        self,
        suspect: Suspect,
        images: Tensor,
        wanted: Tensor,
        transcript: Transcript,
        how: QueryConfig,
        longest: int,
        unreadable: Callable[[Sequence[Any]], str],
    ) -> None:
        self._suspect, self._images, self._transcript, self._how = suspect, images, transcript, how
        self._longest, self._unreadable = longest, unreadable
        ledger = Ledger(transcript.records)
        self._first = not ledger.answers
        order, again = questions(wanted, how.seed)
        self._n_wanted = len(order)
        self._missing = {i for i in order if i not in ledger.answers}
        self._todo = deque(i for i in order if i in self._missing)
        self._again = deque(i for i in again if len(ledger.answers.get(i, ())) < 2)
        self._budget = 2 * len(order) + N_REPEATS if how.max_queries is None else how.max_queries
        self._left = self._budget - ledger.queries
        self._largest = how.batch_size if how.rate is None else min(how.batch_size, max(1, int(how.rate)))
        self._size = min(FIRST_BATCH, self._largest)
        self._successes, self._successes_to_grow = 0, 1
        self._failures = 0
        self._not_before = time.monotonic()
        self._deadline = self._not_before + how.total_timeout
        self._running: dict[Future[list[Any]], _Request] = {}

    def run(self) -> None:
        """Until nothing is left to ask. A failure of what is asked twice only ends that: no verdict hangs on it."""
        patience = 0.0  # Ctrl-C ends at once
        try:
            while self._todo or self._again or self._running:
                self._check()
                self._start()
                self._collect()
        except UserError:
            patience = self._how.timeout
            if self._missing:
                raise
        finally:
            self._settle(patience)
        self._transcript.end(self._n_wanted)

    def _settle(self, patience: float) -> None:
        """What is under way has been paid for: its answers are kept if they come within `patience` seconds."""
        seconds = min(patience, max(self._deadline - time.monotonic(), 0.0))
        done, late = wait(self._running, timeout=seconds)
        for future in done:
            request = self._running.pop(future)
            error = future.exception()
            if error is None:
                self._keep(request, future.result())
            else:
                self._transcript.failed(request.batch, str(error), counts=getattr(error, "sent", True))
        for future in late:
            self._transcript.failed(self._running.pop(future).batch, "given up", counts=True)

    def _check(self) -> None:
        """Stop when the rest cannot be had any more: what is left of the budget is not spent in vain."""
        if time.monotonic() >= self._deadline:
            raise self._stop(f"{self._how.total_timeout:g} s have passed (total-timeout)")
        if len(self._todo) > self._left:
            least = self._budget - self._left + len(self._todo)
            raise self._stop(
                f"of {self._budget} queries {max(self._left, 0)} are left (max-queries), at least {least} are needed"
            )
        if not self._todo and not self._running:
            while len(self._again) > max(self._left, 0):
                self._again.pop()

    def _stop(self, why: str) -> UserError:
        done = self._n_wanted - len(self._missing)
        return UserError(
            f"{why}; {done} of {self._n_wanted} images are answered and kept: allow more and run it again to resume"
        )

    def _start(self) -> None:
        """As many requests as may run now. What is asked again is asked last, when nothing else needs the budget."""
        while len(self._running) < self._how.concurrency and (now := time.monotonic()) >= self._not_before:
            queue = self._todo if self._todo or self._running else self._again
            images = [queue.popleft() for _ in range(min(self._size, len(queue), self._left))]
            if not images:
                return
            batch = self._transcript.sent(images)
            self._left -= len(images)
            if self._how.rate is not None:
                self._not_before = now + len(images) / self._how.rate
            # A request has its own deadline in the total one.
            timeout = max(min(self._how.timeout, self._deadline - now), 0.001)
            future = _in_background(self._suspect, self._images[images], timeout, self._longest)
            self._running[future] = _Request(batch, images, queue)

    def _collect(self) -> None:
        now = time.monotonic()
        may_start = len(self._running) < self._how.concurrency and (self._todo or not self._running)
        until = min(self._deadline, self._not_before) if may_start else self._deadline
        if not self._running:
            time.sleep(max(0.0, until - now))
            return
        done, _ = wait(self._running, timeout=max(0.0, until - now), return_when=FIRST_COMPLETED)
        for future in done:
            request = self._running.pop(future)
            try:
                answers = future.result()
            except TransientError as error:
                self._failed(request, error)
            except TooLargeError as error:
                self._too_large(request, error)
            except BaseException as error:
                self._transcript.failed(request.batch, str(error), counts=True)
                raise
            else:
                self._keep(request, answers)
                self._succeeded()
                self._look(answers)

    def _keep(self, request: _Request, answers: list[Any]) -> None:
        self._transcript.answered(request.batch, answers)
        self._missing.difference_update(request.images)

    def _look(self, answers: list[Any]) -> None:
        """At the first answers: whoever named another form than the suspect's has not yet spent much."""
        if self._first and (why := self._unreadable(answers)):
            raise UserError(
                f"none of its first {len(answers)} answers can be read ({why}): see --output and --classes, and begin "
                "again under another --out; or run the same again to ask the rest all the same"
            )
        self._first = False

    def _succeeded(self) -> None:
        self._failures = 0
        self._successes += 1
        if self._successes >= self._successes_to_grow:
            self._size, self._successes = min(2 * self._size, self._largest), 0

    def _failed(self, request: _Request, error: TransientError) -> None:
        """Ask again later, if it goes on in smaller portions."""
        self._give_back(request, str(error), counts=error.sent)
        self._failures += 1
        self._successes, self._successes_to_grow = 0, SLOW_START
        if self._failures > 1:
            self._size = max(1, min(self._size, len(request.images)) // 2)
        if self._failures >= self._how.tries * self._how.concurrency:
            raise self._stop(f"{self._failures} requests in a row failed, the last one with: {error}")
        # Whoever says 0, or a moment that has passed, is spared all the same.
        pause = max(min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE), error.after or 0.0)
        if time.monotonic() + pause > self._deadline:
            raise self._stop(f"{error}, and the {pause:.0f} s to wait are longer than what is left of total-timeout")
        self._not_before = max(self._not_before, time.monotonic() + pause)

    def _too_large(self, request: _Request, error: TooLargeError) -> None:
        self._give_back(request, str(error), counts=True)
        if len(request.images) == 1:
            raise self._stop(f"the endpoint refuses even a single image ({error})")
        self._largest = min(self._largest, len(request.images) // 2)
        self._size = min(self._size, self._largest)

    def _give_back(self, request: _Request, why: str, *, counts: bool) -> None:
        self._transcript.failed(request.batch, why, counts)
        self._left += 0 if counts else len(request.images)
        request.queue.extendleft(reversed(request.images))


def _in_background(suspect: Suspect, images: Tensor, timeout: float, longest: int) -> Future[list[Any]]:
    """One request in a thread that dies with the process: whoever hangs holds up nobody."""
    future: Future[list[Any]] = Future()

    def run() -> None:
        try:
            future.set_result(_checked_answers(suspect.ask(images, timeout), longest))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _checked_answers(answers: list[Any], longest: int) -> list[Any]:
    """The answers, if a transcript can hold them.

    Raises:
        TransientError: one is too long.
        UserError: one is no JSON value.
    """
    try:
        length = max((len(json.dumps(answer)) for answer in answers), default=0)
    except (TypeError, ValueError) as error:
        raise UserError(f"suspect: expected numbers, texts, lists or objects as answers ({error}); mend it") from error
    if length > longest:
        raise TransientError(f"an answer of {length:,} characters to one image, at most {longest:,} are taken")
    return answers
