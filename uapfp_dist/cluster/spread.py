"""The same function for many items, each as a Ray task."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray

from uapfp_dist.cluster.session import session

Item = TypeVar("Item")
Found = TypeVar("Found")


def spread(function: Callable[[Item], Found], items: Sequence[Item], address: str | None) -> list[Found]:
    """`function` of every item, in their order. A task whose worker dies is done again: it must be idempotent.

    Args:
        function: what it refers to is shipped once.
        items: one task each.
        address: of a cluster; None: one of this machine's own that ends with the call.

    Raises:
        UserError: no cluster there.
    """
    with session(address):
        shared = ray.put(function)
        task: Any = ray.remote(num_cpus=1, max_retries=3)(_call)
        return ray.get([task.remote(shared, item) for item in items])  # type: ignore[no-any-return]


def _call(function: Callable[[Item], Found], item: Item) -> Found:
    return function(item)
