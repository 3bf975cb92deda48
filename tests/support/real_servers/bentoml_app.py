"""A BentoML service of a picture, and one of numbers."""

from __future__ import annotations

import os
import sys
from typing import Any

import bentoml
import numpy as np
import toy_model
from PIL.Image import Image


@bentoml.service
class Toy:
    """The toy."""

    @bentoml.api
    def classify(self, image: Image) -> dict[str, Any]:
        """A label and its score."""
        return toy_model.label_and_score(toy_model.of_image(image))

    @bentoml.api
    def rows(self, images: np.ndarray) -> list[list[float]]:
        """A row of probabilities for each image."""
        return toy_model.probabilities(images).tolist()


if __name__ == "__main__":
    serve = ["-m", "bentoml", "serve", "bentoml_app:Toy", "--port", os.environ["PORT"], "--host", "127.0.0.1"]
    os.execv(sys.executable, [sys.executable, *serve])
