"""A suspect as a file of weights for an architecture of ours. Weights are numbers: nothing in the file can run."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.science.blackbox import ask
from uapfp_dist.science.zoo import build
from uapfp_dist.suspects.images import InputForm


class WeightsSuspect:
    """An architecture of `science.zoo` with the weights of a safetensors file.

    Args:
        path: the file.
        architecture: its name.
        width: of the nets of Table 1.
        shape: (c, h, w) of the images as the net gets them.
        n_classes: the kit's.
        form: of the images; layout NCHW, scale 0-1.

    Raises:
        UserError: no safetensors file, an unknown architecture, weights of another one.
    """

    def __init__(
        self, path: Path, architecture: str, width: int, shape: tuple[int, int, int], n_classes: int, form: InputForm
    ) -> None:
        if form.layout != "NCHW" or form.scale != "0-1":
            raise UserError("weights: expected layout NCHW and scale 0-1, as our nets have it; leave the options out")
        refuse_pickle(path)
        try:
            weights = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            cause = (str(error).splitlines() or ["?"])[0][:160]
            raise UserError(
                f"suspect {path}: expected a safetensors file ({cause}); export the weights as one"
            ) from error
        c, h, w = shape
        shape = (c if form.channels == "same" else 3, h, w)
        self._net = build(architecture, shape, n_classes, width, 0, _device())
        try:
            self._net.load_state_dict(weights)
        except RuntimeError as error:
            cause = " ".join(str(error).split())[:160]
            raise UserError(
                f"suspect {path}: expected the weights of {architecture} at width {width} for {n_classes} classes "
                f"({cause}); name another architecture or width"
            ) from error
        self._form = form

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.ask`: B lists of C probabilities."""
        return ask(self._net, torch.from_numpy(self._form.encode(images))).tolist()  # type: ignore[no-any-return]


def refuse_pickle(path: Path) -> None:
    """Look at the first bytes before anything reads the file.

    Raises:
        UserError: no file, or one that is or may hold a pickle.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"suspect {path}: expected a file ({error.strerror}); check the path") from error
    # A pickle begins with PROTO (0x80), torch's files are zips of pickles; a safetensors header opens with a brace.
    if start[:2] == b"PK" or start[:1] == b"\x80" or not start[8:9] == b"{":
        raise UserError(
            f"suspect {path}: expected a safetensors file, got something else (perhaps a pickle, which could run code "
            "here and is never opened); export the weights with safetensors.torch.save_file"
        )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
