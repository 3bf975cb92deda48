"""A suspect as a file of weights for an architecture of this package or of the user's code.

Weights are numbers: nothing in the file can run. The code that runs is named by the user, never by a kit, a transcript
or a suspect.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.models import Net, build
from uapfp_dist.models.architecture_names import architecture_of_file, is_published, small_variant
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.checkpoint import MisfitError, load_weights
from uapfp_dist.models.custom import CustomNet, is_import_path
from uapfp_dist.models.published import PublishedNet
from uapfp_dist.models.weights_file import read_weights
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import RefusedInputError


class WeightsSuspect:
    """An architecture with the weights of a safetensors file.

    Args:
        path: the file.
        architecture: its name (see `architecture_of_file`), or `package.module:factory` of the user's code (see
            `CustomNet`): then the weights are the state_dict of that module, or of a model in a storage.
        width: of the nets of Table 1.
        shape: (c, h, w) of the kit's images.
        n_classes: of the kit.
        input_format: of the images; the layout must be NCHW. A size that it names is the one that the net takes.
        ignore_surplus: leave out tensors that the architecture does not have.

    Raises:
        UserError: no safetensors file, no architecture or an unknown one, weights of another one.
    """

    def __init__(
        self,
        path: Path,
        architecture: str,
        width: int,
        shape: tuple[int, int, int],
        n_classes: int,
        input_format: InputFormat,
        ignore_surplus: bool = False,
    ) -> None:
        if input_format.layout != "NCHW":
            raise UserError("weights: expected layout NCHW; leave it out", argument="layout")
        weights, _ = read_weights(path, f"suspect {path}", "at")
        if not architecture:
            raise UserError(
                f"suspect {path}: expected the architecture of these weights, got none; give architecture NAME, where "
                "NAME is a known one such as resnet18, or package.module:factory of your code",
                argument="architecture",
                options=("architecture NAME",),
            )
        meant = architecture_of_file(architecture, weights)
        self._net = _net(meant, input_format, shape, n_classes, width)
        try:
            load_weights(self._net, weights, ignore_surplus=ignore_surplus)
        except MisfitError as error:
            named = is_import_path(meant) or is_published(meant)
            at = "" if named else f" at width {width}"
            small = f", such as {name}, which is for small images" if (name := small_variant(meant)) else ""
            other = f"name another architecture{'' if named else ' or width'}{small}"
            advice = "ignore them, or save the weights alone" if error.surplus else other
            raise UserError(
                f"suspect {path}: expected the weights of {architecture}{at} for {n_classes} classes ({error}); "
                f"{advice}",
                argument="ignore_surplus" if error.surplus else "architecture",
            ) from error
        self._input_format = input_format

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`: B lists of C probabilities.

        Raises:
            UserError: the user's module does not take such images.
        """
        array = torch.from_numpy(self._input_format.encode(images)).float()
        try:
            return predict_probabilities(self._net, array).tolist()  # type: ignore[no-any-return]
        except RuntimeError as error:
            raise RefusedInputError(
                f"suspect: its architecture does not take images of shape {tuple(array.shape)} ({one_line(error)})"
            ) from error


def _custom(path: str, shape: tuple[int, int, int], n_classes: int) -> CustomNet:
    """The user's net, with random weights.

    Raises:
        UserError: no such factory, no module, or any exception of the factory.
    """
    try:
        return CustomNet(path, shape, n_classes).to(_device()).eval()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"architecture {path}: {type(error).__name__}: {one_line(error)}; fix it", argument="architecture"
        ) from error


def _net(architecture: str, given: InputFormat, shape: tuple[int, int, int], n_classes: int, width: int) -> Net:
    """The net, with random weights."""
    shape = given.image_shape(shape)
    if is_import_path(architecture):
        return _custom(architecture, shape, n_classes)
    net = build(architecture, shape, n_classes, width, 0, _device())
    if given.size and isinstance(net, PublishedNet):
        if "@" in architecture:
            raise UserError(
                "size: expected it, or the side in the architecture, got both; leave one out", argument="size"
            )
        net.side = None
    return net


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
