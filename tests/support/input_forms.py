"""Suspects that expect their images in another form than the kit's."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from faulty_server import Exchange
from torch import Tensor
from toy_kit import negative, serve, trained

EXPECTS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "bytes": (lambda x: x / 255, {"scale": "0-255"}),
    "[-1, 1]": (lambda x: (x + 1) / 2, {"scale": "signed"}),
    "mean and std": (lambda x: x * 0.1 + 0.9, {"mean": (0.9,), "std": (0.1,)}),
    "another size": (lambda x: torch.nn.functional.avg_pool2d(x, 2), {"size": (16,), "resampling": "nearest"}),
    "another order of dimensions": (lambda x: x.permute(0, 3, 1, 2), {"layout": "NHWC"}),
    "no channels": (lambda x: x[:, None], {"layout": "NHW"}),
    "three channels": (lambda x: x.mean(1, keepdim=True), {"channels": "RGB"}),
}


def reads(image: Callable[[Tensor], Tensor], seed: int = 0) -> Callable[[np.ndarray], Any]:
    """A model that undoes the form of input it expects."""
    net = trained(seed) if seed == 0 else negative()
    return lambda x: serve(net)(image(torch.from_numpy(np.asarray(x, dtype=np.float32))).numpy())


def byte_model(images: np.ndarray) -> Any:
    """Expects 0 to 255."""
    return serve(trained(0))(np.asarray(images, dtype=np.float32) / np.float32(255))


def metadata_of(inputs: Any, model: Callable[[np.ndarray], Any], seen: list[Any]) -> Callable[[Exchange], bool]:
    """A server of the Open Inference Protocol that declares its inputs and keeps what it was sent."""

    def respond(exchange: Exchange) -> bool:
        if not exchange.path.endswith("/infer"):
            exchange.send(200, json.dumps({"name": "m", "inputs": inputs}).encode())
            return True
        seen.append(exchange.tensor)
        found = np.array(model(exchange.images))
        output = {"name": "y", "shape": list(found.shape), "datatype": "FP64", "data": found.ravel().tolist()}
        exchange.send(200, json.dumps({"outputs": [output]}).encode())
        return True

    return respond
