"""Suspects by protocol.

To add one: a file with a `Suspect` (an `Endpoint` where it speaks HTTP), a line in SUSPECTS, and in `suspects.config`
what `auto` takes for it and the fields that it needs.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.suspects.callable import CallableSuspect, function_at
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.mlflow_scoring import MlflowScoringSuspect
from uapfp_dist.suspects.onnx import OnnxSuspect
from uapfp_dist.suspects.open_inference import OpenInferenceSuspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.suspects.weights import WeightsSuspect

Opener = Callable[[SuspectConfig, tuple[int, int, int], int], Suspect]
"""Makes a suspect of its config, the (c, h, w) of the kit's images and the number of classes."""


def _weights(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    path = Path(config.at).expanduser()
    net = config.architecture, config.width
    return WeightsSuspect(path, *net, shape, n_classes, config.input_format, config.ignore_surplus)


SUSPECTS: Mapping[str, Opener] = {
    "mlflow": lambda config, shape, n_classes: MlflowScoringSuspect(config.at, config.input_format, config.headers),
    "oip": lambda config, shape, n_classes: OpenInferenceSuspect(
        config.at, config.input_format, config.headers, config.tensor, shape
    ),
    "onnx": lambda config, shape, n_classes: OnnxSuspect(
        Path(config.at).expanduser(), config.input_format, shape, n_classes, config.output, config.output_name
    ),
    "weights": _weights,
    "python": lambda config, shape, n_classes: CallableSuspect(function_at(config.at), config.input_format),
}


def open_suspect(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    """Open a suspect; nothing is sent yet.

    Args:
        config: where it is and how it is queried.
        shape: (c, h, w) of the kit's images.
        n_classes: of the kit.

    Raises:
        UserError: no such suspect; a file that could run code.
    """
    if not config.at:
        raise UserError("suspect: expected an address, a file or module:function, got nothing; name one", argument="at")
    if config.protocol not in SUSPECTS:
        raise unknown_name("kind of suspect", config.protocol, SUSPECTS)
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", config.at):
        raise UserError(f"suspect {config.at}: expected a URL; did you mean http://{config.at}?", argument="at")
    config.input_format.image_shape(shape)  # raises for channels, mean or std that these images do not have
    return SUSPECTS[config.protocol](config, shape, n_classes)
