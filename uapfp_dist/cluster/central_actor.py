"""What the central actors share: where they stand, and how Ray says that one is dead."""

from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

DEATHS = (RayActorError, OutOfMemoryError)
"""What a call of an actor that is dead or out of reach raises; the second is no kind of the first."""


def central(kind: type) -> Any:
    """`kind` as a central actor: on the driver's node, which has to stay anyway and sees the driver's storage.

    Its methods of the group `watch` are answered while the others are at work.
    """
    # soft: where that node takes no actors, another one is better than none
    place = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "concurrency_groups": {"watch": 1}}
    options["scheduling_strategy"] = place
    return ray.remote(**options)(kind)
