"""Usual HTTP protocols as data: the request, where the answer is, what is added to the address.

To add one: a line here, and what was really run against in the table of the README.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from uapfp_dist.serialization import Json


@dataclass(frozen=True)
class HttpPreset:
    """A protocol that a template and a path describe."""

    request: Json
    """See `request_template`."""
    answers: tuple[str, ...] = ("$",)
    """Paths to labels, scores or pairs; the first that finds something."""
    path: str = ""
    """Of an address without one."""
    suffix: str = ""
    """Of every address, added where it is missing."""
    outputs_by_name: bool = False
    """The answer may be an object of lists by name of output: then the first."""


PIXEL_ROWS: Json = ["{pixels}", "..."]
INSTANCES: Json = {"json": {"instances": PIXEL_ROWS}}
FILE: Json = {"body": "{png}"}

PRESETS: Mapping[str, HttpPreset] = {
    "mlflow": HttpPreset({"json": {"inputs": PIXEL_ROWS}}, ("predictions", "$"), "/invocations", outputs_by_name=True),
    "mlflow-instances": HttpPreset(INSTANCES, ("predictions",), "/invocations", outputs_by_name=True),
    "mlflow-dataframe": HttpPreset(
        {"json": {"dataframe_split": {"columns": ["image"], "data": [["{png}"], "..."]}}},
        ("predictions",),
        "/invocations",
    ),
    "tensorflow-serving": HttpPreset(INSTANCES, ("predictions",), suffix=":predict"),
    "kserve-v1": HttpPreset(INSTANCES, ("predictions",), suffix=":predict"),
    "torchserve": HttpPreset(FILE),
    "huggingface": HttpPreset(FILE),
    "sagemaker": HttpPreset({"json": PIXEL_ROWS}, path="/invocations"),
    "sagemaker-image": HttpPreset(FILE, path="/invocations"),
    "vertex": HttpPreset(INSTANCES, ("predictions",), suffix=":predict"),
    "vertex-image": HttpPreset(
        {
            "json": {
                "instances": [{"content": "{png}"}, "..."],
                "parameters": {"confidenceThreshold": 0.0, "maxPredictions": 1000},
            }
        },
        ("predictions[*].displayNames,predictions[*].confidences",),
        suffix=":predict",
    ),
    "bentoml": HttpPreset({"multipart": {"image": "{png}"}}),
    "fastapi": HttpPreset({"multipart": {"file": "{png}"}}),
}
"""By the name that `kind` takes."""
