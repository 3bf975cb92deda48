"""A suspect as a file of weights for an architecture of this package or of the user's code.

Weights are numbers: nothing in the file can run. The code that runs is named by the user, never by a kit, a transcript
or a suspect.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.models import build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.custom import CustomNet, is_import_path
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import RefusedInputError


class WeightsSuspect:
    """An architecture of `uapfp_dist.models` with the weights of a safetensors file.

    Args:
        path: the file.
        architecture: its name, or `package.module:factory` of the user's code (see `CustomNet`): then the weights are
            the state_dict of that module, or of a model in a storage.
        width: of the nets of Table 1.
        shape: (c, h, w) of the kit's images.
        n_classes: of the kit.
        input_format: of the images; the layout must be NCHW.

    Raises:
        UserError: no safetensors file, an unknown architecture, weights of another one.
    """

    def __init__(
        self,
        path: Path,
        architecture: str,
        width: int,
        shape: tuple[int, int, int],
        n_classes: int,
        input_format: InputFormat,
    ) -> None:
        if input_format.layout != "NCHW":
            raise UserError("weights: expected layout NCHW; leave it out", argument="layout")
        refuse_pickle(path)
        try:
            weights = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UserError(
                f"suspect {path}: expected a safetensors file ({one_line(error)}); export the weights as one",
                argument="at",
            ) from error
        shape = input_format.image_shape(shape)
        custom = is_import_path(architecture)
        self._net = (
            _custom(architecture, shape, n_classes)
            if custom
            else build(architecture, shape, n_classes, width, 0, _device())
        )
        target: nn.Module = self._net
        if isinstance(self._net, CustomNet) and weights.keys() != self._net.state_dict().keys():
            target = self._net.module
        try:
            target.load_state_dict(weights)
        except RuntimeError as error:
            at = "" if custom else f" at width {width}"
            raise UserError(
                f"suspect {path}: expected the weights of {architecture}{at} for {n_classes} classes "
                f"({one_line(error)}); name another architecture{'' if custom else ' or width'}",
                argument="architecture",
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


def refuse_pickle(path: Path) -> None:
    """Check the first bytes before anything reads the file.

    Raises:
        UserError: no file, or one that is or may hold a pickle.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"suspect {path}: expected a file ({error.strerror}); check the path", argument="at") from error
    # A pickle begins with PROTO (0x80), torch's files are zips of pickles; a safetensors header opens with a brace.
    if start[:2] == b"PK" or start[:1] == b"\x80" or not start[8:9] == b"{":
        raise UserError(
            f"suspect {path}: expected a safetensors file, got something else (perhaps a pickle, which could run code "
            "here and is never opened); export the weights with safetensors.torch.save_file",
            argument="at",
        )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
