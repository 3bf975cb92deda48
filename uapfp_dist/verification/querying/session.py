"""Query a suspect with the images that a kit requires: within a budget, at its pace, never twice what is known."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.rng import torch_rng
from uapfp_dist.suspects.suspect import (
    RefusedInputError,
    Suspect,
    TooLargeError,
    TransientError,
    UnexpectedResponseError,
)
from uapfp_dist.verification.querying.background import query_in_background
from uapfp_dist.verification.querying.batch_size import BatchSize
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.first_responses import FirstResponses
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.transcript import Transcript

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds before the first further try, doubled for each one after it; more where the endpoint says so."""
N_REPEATS = 10
"""Images sent twice, to see whether responses change."""


def query_order(required: Tensor, seed: int, n_repeats: int = N_REPEATS) -> tuple[list[int], list[int]]:
    """(all required images, shuffled; those of them that are sent again, spread evenly over that order)."""
    shuffled = torch.randperm(len(required), generator=torch_rng("questions", seed))
    order: list[int] = required[shuffled].tolist()
    return order, order[:: max(1, len(order) // max(1, n_repeats))][:n_repeats]


def query_all(
    suspect: Suspect,
    images: Tensor,
    required: Tensor,
    transcript: Transcript,
    config: QueryConfig,
    longest: int = 1 << 16,
    first: FirstResponses | None = None,
    n_repeats: int = N_REPEATS,
    on_progress: Callable[[int, int], object] | None = None,
) -> None:
    """Query until the transcript holds a response to every required image, and a second one to some if all goes well.

    A finished transcript stays as it is.

    Args:
        suspect: whom to query.
        images: (Q, c, h, w) uint8, the kit's.
        required: (W,) int64 indices of images that must be answered.
        transcript: what was sent before, in earlier runs too; everything is appended to it as it comes.
        config: at what pace, within what limits.
        longest: characters of JSON that a response to one image may have; a longer one is none.
        first: what is looked at first; None: nothing.
        n_repeats: images sent twice.
        on_progress: takes the number of images that are answered, and of those that must be.

    Raises:
        UserError: budget, time or patience at an end, the suspect refuses, or its first responses are not as they
            should be; the transcript keeps what came.
    """
    if not transcript.finished:
        first = first or FirstResponses()
        session = QuerySession(suspect, images, required, transcript, config, longest, first, n_repeats, on_progress)
        session.run()


@dataclass(frozen=True)
class _Request:
    batch: int
    images: list[int]
    queue: deque[int]
    """Where its images came from."""


class QuerySession:
    """One thread decides, writes and counts; the others only wait for responses."""

    def __init__(
        self,
        suspect: Suspect,
        images: Tensor,
        required: Tensor,
        transcript: Transcript,
        config: QueryConfig,
        longest: int,
        first: FirstResponses,
        n_repeats: int,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self._suspect, self._images, self._transcript, self._config = suspect, images, transcript, config
        self._longest, self._first = longest, first
        self._on_progress = on_progress or (lambda answered, required: None)
        ledger = Ledger(transcript.records)
        self._unread = not ledger.responses
        order, repeats = query_order(required, config.seed, n_repeats)
        self._n_required = len(order)
        self._missing = {i for i in order if i not in ledger.responses}
        checked = set(first.images.tolist())
        self._todo = deque(i for i in order if i in self._missing and i in checked)
        self._later = deque(i for i in order if i in self._missing and i not in checked)
        self._repeats = deque(i for i in repeats if len(ledger.responses.get(i, ())) < 2)
        self._budget = 2 * len(order) + n_repeats if config.max_queries is None else config.max_queries
        self._left = self._budget - ledger.queries
        a_second = config.batch_size if config.rate is None else max(1, int(config.rate))
        self._size = BatchSize(min(config.batch_size, a_second, getattr(suspect, "largest_batch", None) or a_second))
        self._failures = 0
        self._not_before = time.monotonic()
        self._deadline = self._not_before + config.total_timeout
        self._running: dict[Future[list[object]], _Request] = {}
        self._cold_until = self._not_before + config.cold_start if self._unread else 0.0
        if (shown := transcript.shown_certificate) and hasattr(suspect, "certificate"):
            suspect.certificate = shown

    def run(self) -> None:
        """Until nothing is left to send. A failure of what is sent twice only ends that: no verdict hangs on it."""
        patience = 0.0  # Ctrl-C ends at once
        try:
            while self._todo or self._later or self._repeats or self._running:
                self._check()
                if self._later and not self._todo and not self._running:
                    self._check_input()
                    self._todo, self._later = self._later, deque()
                self._start()
                self._collect()
                self._on_progress(self._n_required - len(self._missing), self._n_required)
        except UserError:
            patience = self._config.timeout
            if self._missing:
                raise
        finally:
            self._drain(patience)
        self._transcript.end(self._n_required)

    def _check(self) -> None:
        """Stop when the rest cannot be had any more: what is left of the budget is not spent in vain."""
        if time.monotonic() >= self._deadline:
            raise self._stop(f"{self._config.total_timeout:g} s have passed (total_timeout)", "total_timeout")
        if (n_left := len(self._todo) + len(self._later)) > self._left:
            least = self._budget - self._left + n_left
            raise self._stop(
                f"of {self._budget} queries {max(self._left, 0)} are left (max_queries), at least {least} are needed: "
                "what got no response, or was under way when a run was interrupted, counts",
                "max_queries",
            )
        if not self._todo and not self._later and not self._running:
            while len(self._repeats) > max(self._left, 0):
                self._repeats.pop()

    @property
    def _at_once(self) -> int:
        """Requests that may run: one until there is a first answer."""
        return 1 if self._unread else self._config.concurrency

    def _start(self) -> None:
        """As many requests as may run now. Repeats are sent last, when nothing else needs the budget."""
        while len(self._running) < self._at_once and (now := time.monotonic()) >= self._not_before:
            queue = self._todo if self._todo or self._later or self._running else self._repeats
            images = [queue.popleft() for _ in range(min(self._size.now, len(queue), self._left))]
            if not images:
                return
            batch = self._transcript.sent(images)
            self._left -= len(images)
            if self._config.rate is not None:
                self._not_before = now + len(images) / self._config.rate
            # A request has its own deadline in the total one.
            timeout = max(min(self._config.timeout, self._deadline - now), 0.001)
            future = query_in_background(self._suspect, self._images[images], timeout, self._longest)
            self._running[future] = _Request(batch, images, queue)

    def _collect(self) -> None:
        now = time.monotonic()
        may_start = len(self._running) < self._at_once and (self._todo or not self._running)
        until = min(self._deadline, self._not_before) if may_start else self._deadline
        if not self._running:
            time.sleep(max(0.0, until - now))
            return
        done, _ = wait(self._running, timeout=max(0.0, until - now), return_when=FIRST_COMPLETED)
        for future in done:
            request = self._running.pop(future)
            try:
                responses = future.result()
            except TransientError as error:
                self._failed(request, error)
            except TooLargeError as error:
                self._too_large(request, error)
            except RefusedInputError as error:
                if self._unread or len(request.images) == 1:
                    self._transcript.failed(request.batch, str(error), counts=getattr(error, "sent", True))
                    raise self._resumable(error) from error.__cause__
                # It takes such images, but perhaps not so many: limits come with any status.
                self._too_large(request, TooLargeError(str(error), sent=getattr(error, "sent", True)))
            except BaseException as error:
                self._transcript.failed(request.batch, str(error), counts=getattr(error, "sent", True))
                if isinstance(error, UserError):
                    raise self._resumable(error) from error.__cause__
                raise
            else:
                self._keep(request, responses)
                self._succeeded()
                if self._unread:
                    self._first.check(responses)
                    self._unread = False

    def _drain(self, patience: float) -> None:
        """What is under way has been paid for: its responses are kept if they come within `patience` seconds."""
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

    def _keep(self, request: _Request, responses: list[object]) -> None:
        shown = getattr(self._suspect, "certificate", "")
        if shown != self._transcript.shown_certificate:
            self._transcript.certificate(shown)
        self._transcript.answered(request.batch, responses)
        self._missing.difference_update(request.images)

    def _check_input(self) -> None:
        """Once the first images are answered, in this run or an earlier one."""
        if refusal := self._first.refusal(Ledger(self._transcript.records)):
            raise refusal

    def _succeeded(self) -> None:
        self._failures = 0
        self._size.succeeded()

    def _failed(self, request: _Request, error: TransientError) -> None:
        """Query again later, if it goes on in smaller batches."""
        self._requeue(request, str(error), counts=error.sent)
        if isinstance(error, UnexpectedResponseError) and self._unread:
            raise UserError(
                f"its first answer has another shape than expected ({error}); check the protocol (kind), request and "
                "answer",
                argument="answer",
            )
        cold = self._unread and time.monotonic() < self._cold_until
        self._failures += 1
        halve = self._failures > 1 or isinstance(error, UnexpectedResponseError)
        self._size.failed(len(request.images), halve=halve)
        if self._failures >= self._config.tries * self._config.concurrency and not cold:
            hint = "; one that starts cold is waited for with cold_start" if self._unread else ""
            raise self._stop(f"{self._failures} requests in a row failed, the last one with: {error}{hint}")
        # An endpoint that says 0, or a moment that has passed, is spared all the same.
        pause = max(min(FIRST_PAUSE * 2 ** min(self._failures - 1, 20), LONGEST_PAUSE), error.retry_after or 0.0)
        if time.monotonic() + pause > self._deadline:
            raise self._stop(
                f"{error}, and the {pause:.0f} s to wait are longer than what is left of total_timeout", "total_timeout"
            )
        self._not_before = max(self._not_before, time.monotonic() + pause)

    def _too_large(self, request: _Request, error: TooLargeError) -> None:
        self._requeue(request, str(error), counts=error.sent)
        if len(request.images) == 1:
            raise self._stop(f"the endpoint refuses even a single image ({error})")
        self._size.refused(len(request.images), error.most)

    def _requeue(self, request: _Request, why: str, *, counts: bool) -> None:
        self._transcript.failed(request.batch, why, counts)
        self._left += 0 if counts else len(request.images)
        request.queue.extendleft(reversed(request.images))

    def _resumable(self, error: UserError) -> UserError:
        """The same; once something is answered, with what is kept: a look may be begun, and only this run ends it."""
        if len(self._missing) == self._n_required:
            return error
        text = f"{error}; {self._kept}: run it again under the same name to resume"
        return type(error)(text, argument=error.argument, options=error.options)

    @property
    def _kept(self) -> str:
        return f"{self._n_required - len(self._missing)} of {self._n_required} images are answered and kept"

    def _stop(self, why: str, argument: str = "") -> UserError:
        remedy = f"{'allow more and ' if argument else ''}run it again to resume"
        return UserError(
            f"{why}; {self._kept}: {remedy}",
            argument=argument,
            options=("max_queries", "total_timeout", "cold_start"),
        )
