"""Work in threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


Found = TypeVar("Found")


def map_threads(work: Callable[[Item], Found], items: Iterable[Item], threads: int) -> list[Found]:
    """`work` of every item, several at a time, in their order. An interruption waits for none that is at work."""
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
