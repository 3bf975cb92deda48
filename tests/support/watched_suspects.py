"""Suspects by a kit of churn points, whose requests are counted and may be interrupted."""

from collections.abc import Callable

import numpy as np
from toy_kit import negative, serve, trained

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.register.register import Register

asked: list[int] = []
"""Images of each request, in this process."""
before: list[Callable[[], object]] = []
"""What happens when the next request comes."""


def copied(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers."""
    if before:
        before.pop()()
    asked.append(len(images))
    return serve(trained(0))(images)


def fair(images: np.ndarray) -> list[list[float]]:
    """Those of another model."""
    asked.append(len(images))
    return serve(negative())(images)


def garbled(images: np.ndarray) -> list[list[float]]:
    """The victim's, but for every third image, to which nothing can be read."""
    return [[] if image.sum() % 3 < 1 else row for image, row in zip(images, copied(images), strict=True)]


def suspect(function: str = "copied", name: str = "", operator: str = "") -> SuspectConfig:
    """One of the functions of this file."""
    return SuspectConfig(at=f"watched_suspects:{function}", name=name or function, operator=operator or function)


def unreachable(name: str = "gone", operator: str = "") -> SuspectConfig:
    """Nobody listens there."""
    return SuspectConfig(at="http://127.0.0.1:1/", name=name, operator=operator or name)


ONE_TRY = QueryConfig(tries=1, timeout=1.0)


def sets_of(register: Register) -> list[tuple[str, int, float]]:
    """(name, set, p) of every look on the disk."""
    again = Register.open(register.path, register.kit)
    return [(look.name, look.point_set, look.p_value) for look in again.looks]
