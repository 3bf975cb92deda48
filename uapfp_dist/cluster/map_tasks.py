"""The same function for many items, each as a Ray task."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray

from uapfp_dist.cluster.session import session
from uapfp_dist.errors import one_line

Item = TypeVar("Item")
Found = TypeVar("Found")


def map_tasks(
    function: Callable[[Item], Found], items: Sequence[Item], address: str | None, lost: Callable[[str], Found]
) -> list[Found]:
    """`function` of every item, in their order. A task whose worker dies is done again: it must be idempotent.

    Args:
        function: what it refers to is shipped once.
        items: one task each.
        address: of a cluster; None: one of this machine's own that ends with the call.
        lost: stands in for what is not found, told why: a task whose workers died one after the other, out of memory,
            say. The others go on.

    Raises:
        UserError: no cluster there.
    """
    with session(address):
        shared = ray.put(function)
        task: Any = ray.remote(num_cpus=1, max_retries=3)(_call)
        tasks = [task.remote(shared, item) for item in items]
        return [_got(found, lost) for found in tasks]


def _got(task: Any, lost: Callable[[str], Found]) -> Found:
    try:
        return ray.get(task)  # type: ignore[no-any-return]
    except ray.exceptions.RayTaskError:
        raise  # a defect of the function
    except ray.exceptions.RayError as error:
        return lost(f"its worker was lost, several times ({one_line(error)})")


def _call(function: Callable[[Item], Found], item: Item) -> Found:
    return function(item)
