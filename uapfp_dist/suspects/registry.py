"""Suspects by protocol. To add one: a file with a class that can `ask`, a line in SUSPECTS."""

from collections.abc import Callable, Mapping
from pathlib import Path

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.suspects.callable import CallableSuspect, function_at
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.mlflow_scoring import MlflowSuspect
from uapfp_dist.suspects.onnx import OnnxSuspect
from uapfp_dist.suspects.open_inference import OipSuspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.suspects.weights import WeightsSuspect

Opener = Callable[[SuspectConfig, tuple[int, int, int], int], Suspect]
"""(config, shape of the kit's images, number of classes) to a suspect."""


def _weights(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    path = Path(config.at).expanduser()
    return WeightsSuspect(path, config.architecture, config.width, shape, n_classes, config.form)


SUSPECTS: Mapping[str, Opener] = {
    "mlflow": lambda config, shape, n_classes: MlflowSuspect(config.at, config.form, config.headers),
    "oip": lambda config, shape, n_classes: OipSuspect(config.at, config.form, config.headers, config.tensor),
    "onnx": lambda config, shape, n_classes: OnnxSuspect(Path(config.at).expanduser(), config.form),
    "weights": _weights,
    "python": lambda config, shape, n_classes: CallableSuspect(function_at(config.at), config.form),
}


def open_suspect(config: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
    """The suspect, not yet asked anything.

    Args:
        config: where it is.
        shape: (c, h, w) of the kit's images.
        n_classes: the kit's.

    Raises:
        UserError: nothing there that can be asked; a file that could run code.
    """
    if not config.at:
        raise UserError("suspect: expected an address, a file or module:function, got nothing; name one")
    if config.protocol not in SUSPECTS:
        raise unknown_name("kind of suspect", config.protocol, SUSPECTS)
    return SUSPECTS[config.protocol](config, shape, n_classes)
