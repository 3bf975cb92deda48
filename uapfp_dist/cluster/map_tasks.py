"""One function of many items, each as a Ray task."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray

from uapfp_dist.cluster.session import session
from uapfp_dist.messages import one_line

Item = TypeVar("Item")
Found = TypeVar("Found")


def map_tasks(
    function: Callable[[Item], Found], items: Sequence[Item], address: str | None, lost: Callable[[str], Found]
) -> list[Found]:
    """`function` of every item, in order. A task whose worker dies is done again: it must be idempotent.

    Args:
        function: shipped once, with all it refers to.
        items: one task each.
        address: of a cluster; None: a local one that ends with the call.
        lost: makes the result of a task whose workers died one after the other (out of memory, say), from the cause;
            the other tasks go on.

    Raises:
        UserError: no cluster there.
    """
    with session(address):
        shared = ray.put(function)
        remote: Any = ray.remote(num_cpus=1, max_retries=3)(_call)
        tasks = [remote.remote(shared, item) for item in items]
        return [_result(task, lost) for task in tasks]


def _result(task: Any, lost: Callable[[str], Found]) -> Found:
    try:
        return ray.get(task)  # type: ignore[no-any-return]
    except ray.exceptions.RayTaskError:
        raise  # an internal error of the function
    except ray.exceptions.RayError as error:
        return lost(f"its worker was lost, several times ({one_line(error)})")


def _call(function: Callable[[Item], Found], item: Item) -> Found:
    return function(item)
