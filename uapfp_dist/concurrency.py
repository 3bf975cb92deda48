"""Work in several threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
