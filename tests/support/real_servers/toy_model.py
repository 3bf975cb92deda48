"""The toy kit's victim, or a negative, for servers that run in a process of their own. They count what they answer."""

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from toy_kit import negative, trained

from uapfp_dist.models.blackbox import predict_probabilities

COUNTS = Path(os.environ["COUNTS"])
NET = trained(0) if os.environ["NET"] == "stolen" else negative()


def probabilities(images: Any) -> np.ndarray:
    """(B, C) of (B, 1, 8, 8) values in [0, 1]."""
    array = np.asarray(images, dtype=np.float32).reshape(-1, 1, 8, 8)
    with COUNTS.open("a") as file:
        file.write(f"{len(array)}\n")
    return predict_probabilities(NET, torch.from_numpy(array.copy())).numpy()


def of_image(image: Image.Image) -> np.ndarray:
    """(C,) of a picture."""
    return probabilities(np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255))[0]


def of_file(file: bytes) -> np.ndarray:
    """(C,) of a PNG file."""
    return of_image(Image.open(io.BytesIO(file)))


def of_base64(text: str) -> np.ndarray:
    """(C,) of a PNG file in base64."""
    return of_file(base64.b64decode(text))


def label_and_score(row: np.ndarray) -> dict[str, Any]:
    """As an upload form answers."""
    return {"label": str(row.argmax()), "score": float(row.max())}
