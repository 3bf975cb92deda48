"""Suspects by protocol.

To add one over HTTP: a line in `http_presets`. Another one: a file with a `Suspect`, a line in SUSPECTS, in
`suspects.config` what `auto` takes for it and the fields that it needs, and in `own_fields` which of them it reads.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.suspects.callable import CallableSuspect, function_at
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.connection import ConnectionConfig
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.http_presets import PRESETS, HttpPreset
from uapfp_dist.suspects.http_template import HttpSuspect
from uapfp_dist.suspects.onnx import OnnxSuspect
from uapfp_dist.suspects.open_inference import OpenInferenceSuspect, TensorChoice
from uapfp_dist.suspects.own_fields import check_own_fields
from uapfp_dist.suspects.request_template import load_request
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.suspects.weights import WeightsSuspect

Opener = Callable[[SuspectConfig, tuple[int, int, int], int], Suspect]
"""Makes a suspect of its config, the (c, h, w) of the kit's images and the number of classes."""


def _weights(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    path = Path(config.at).expanduser()
    net = config.architecture, config.width
    return WeightsSuspect(path, *net, shape, n_classes, config.input_format, config.ignore_surplus)


def _endpoint(config: SuspectConfig) -> Endpoint:
    connection = ConnectionConfig(
        config.ca, config.client_certificate, config.client_key, config.proxy, config.any_certificate
    )
    return Endpoint(config.at, config.headers, connection, config.polling)


def _http(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    """By a preset, or by a request and an answer of the user's, which replace those of a preset."""
    preset = PRESETS.get(config.protocol)
    if config.request is not None:
        preset = replace(preset or HttpPreset(None), request=load_request(config.request))
    if preset is None:
        raise UserError("request: expected a JSON file for kind http, got none; write one", argument="request")
    if config.answer:
        preset = replace(preset, answers=(config.answer,), outputs_by_name=False)
    return HttpSuspect(_endpoint(config), preset, config.input_format, shape)


SUSPECTS: Mapping[str, Opener] = {
    "http": _http,
    **dict.fromkeys(PRESETS, _http),
    "oip": lambda config, shape, n_classes: OpenInferenceSuspect(
        _endpoint(config),
        config.input_format,
        TensorChoice(config.tensor, config.output_tensor, config.datatype, config.binary),
        shape,
    ),
    "onnx": lambda config, shape, n_classes: OnnxSuspect(
        Path(config.at).expanduser(), config.input_format, shape, n_classes, config.output, config.output_tensor
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
        UserError: no such suspect; a file that could run code; a field that the suspect's protocol does not read.
    """
    if not config.at:
        raise UserError("suspect: expected an address, a file or module:function, got nothing; name one", argument="at")
    if config.protocol not in SUSPECTS:
        raise unknown_name("kind of suspect", config.protocol, SUSPECTS)
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", config.at):
        raise UserError(f"suspect {config.at}: expected a URL; did you mean http://{config.at}?", argument="at")
    check_own_fields(config)
    config.input_format.image_shape(shape)  # raises for channels, mean or std that these images do not have
    return SUSPECTS[config.protocol](config, shape, n_classes)
