"""Work in several threads, and how many there is room for."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
FOREIGN = "foreign code"
"""Name of the threads of `run_within`."""


class HungError(Exception):
    """Foreign code gave no result in time."""


def map_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """`work` of every item, in their order, several at a time. An interruption does not wait for those that run."""
    return list(iterate_threads(work, items, threads))


def iterate_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map_threads`, each result as soon as it and those before it are there."""
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def own_cpus() -> int:
    """CPUs that this process may use; all of the machine's where the system cannot tell (not Linux)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_within(work: Callable[[], Result], seconds: float) -> Result:
    """The result of foreign code, which may hang or end its process: it has a thread of its own.

    Raises:
        HungError: no result in time; the thread is left to itself, since nothing ends one.
        BaseException: what `work` raises.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=FOREIGN, daemon=True).start()
    try:
        return future.result(min(seconds, threading.TIMEOUT_MAX))
    except TimeoutError as error:
        if future.done():  # its own error
            raise
        raise HungError from error


def is_foreign_code_running() -> bool:
    """Whether a thread of `run_within` is at work: Python would abort, were it to end under native code."""
    return any(thread.name == FOREIGN for thread in threading.enumerate())
