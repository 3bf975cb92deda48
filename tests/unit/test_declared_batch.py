"""A server of the Open Inference Protocol that declares a batch beyond all measure: one line, and nothing is sent."""

import json
import sys
import tracemalloc
from typing import Any

import pytest
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import InputMismatchError

SHAPE = (1, 28, 28)


class Declares:
    """Stands for the host: metadata that declare a batch, and answers of any size."""

    def __init__(self, batch: int, datatype: str = "FP32", sides: tuple[int, ...] = SHAPE) -> None:
        self.metadata = {"inputs": [{"name": "x", "datatype": datatype, "shape": [batch, *sides]}]}
        self.sent = 0

    def get(self, endpoint: Endpoint, path: str, timeout: float) -> Any:
        return json.loads(json.dumps(self.metadata)) if not path.endswith("/config") else None

    def post(self, endpoint: Endpoint, body: Any, path: str, n_images: int, *rest: Any) -> tuple[Any, bytes]:
        self.sent += n_images
        return {"outputs": [{"name": "y", "shape": [n_images, 2], "data": [0.5, 0.5] * n_images}]}, b""


def query(server: Declares, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int] = SHAPE) -> list[Any]:
    """The answers to one image."""
    monkeypatch.setattr(Endpoint, "get", lambda *given: server.get(*given))
    monkeypatch.setattr(Endpoint, "post_tensors", lambda *given: server.post(*given))
    suspect = open_suspect(SuspectConfig(at="http://host/v2/models/m"), shape, 2)
    return suspect.query(torch.zeros(1, *shape, dtype=torch.uint8), 1.0)


@pytest.mark.parametrize("batch", [1025, 20_000, 10**9, sys.maxsize, 10**400], ids=lambda n: f"{len(str(n))} digits")
def test_more_images_than_any_batch_has(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Declares(batch)
    tracemalloc.start()
    try:
        with pytest.raises(InputMismatchError, match="expected a batch of at most 1,024 images and 64 MiB") as refused:
            query(server, monkeypatch)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert isinstance(refused.value, UserError)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
    assert server.sent == 0


def test_larger_images_make_it_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 224, 224)
    assert query(Declares(64, sides=shape), monkeypatch, shape) == [[0.5, 0.5]]
    with pytest.raises(InputMismatchError, match="declare 256 images"):
        query(Declares(256, sides=shape), monkeypatch, shape)


def test_the_largest_batch_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Declares(1024)
    assert query(server, monkeypatch) == [[0.5, 0.5]]
    assert server.sent == 1024
