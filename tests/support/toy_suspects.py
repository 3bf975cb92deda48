"""Suspects of the toy kit: endpoints and functions, as good and as bad as they come."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faulty_server import Endpoint, Exchange
from toy_kit import serve, toy_kit, trained

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verify import verify

SHAPE = (1, 8, 8)


IMAGES = torch.randint(0, 256, (7, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def labels_of(net: Any) -> Any:
    """The net behind an endpoint that gives labels."""
    return lambda images: np.array(serve(net)(images)).argmax(1).tolist()


def judged(
    endpoint: Endpoint, out: Path, method: str = "weighted_errors", how: QueryConfig | None = None, **config: Any
) -> JudgedSuspect:
    """The verdict on the model behind an endpoint."""
    return verify(toy_kit(method), [SuspectConfig(at=endpoint.url, name="s", **config)], out, how)[0]


def after_two(fault: Any) -> Any:
    """A fault of every request but the first two."""
    return lambda exchange: exchange.number > 2 and fault(exchange)


def resets(exchange: Exchange) -> bool:
    """Gone."""
    exchange.reset()
    return True


def copied(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers."""
    return serve(trained(0))(images)


def noisy(images: np.ndarray) -> list[list[float]]:
    """One answer to everything."""
    return [[0.5, 0.5] + [0.0] * 8] * len(images)


away = {"is": True}


def sometimes(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers, when it is there."""
    if away["is"]:
        raise UserError("nobody\x1b is there")
    return copied(images)


def deadly(images: np.ndarray) -> list[list[float]]:
    """Takes the process with it that asks, as a file does that needs more memory than there is."""
    os._exit(1)


def as_function(images: np.ndarray) -> list[list[float]]:
    """An adapter as users write them."""
    return serve(trained(0))(images)


def query(config: SuspectConfig, images: torch.Tensor = IMAGES, n_classes: int = 10) -> torch.Tensor:
    """The probabilities of its responses."""
    responses = open_suspect(config, SHAPE, n_classes).query(images, 60.0)
    names = tuple(str(i) for i in range(n_classes))
    # As a transcript keeps them.
    return OutputFormat(config.output, names).parse(json.loads(json.dumps(responses))).probabilities


def too_few(images: np.ndarray) -> list[int]:
    """One response for all images."""
    return [1]


def broken(images: np.ndarray) -> list[int]:
    """An error in the user's code."""
    return [1 // 0]
