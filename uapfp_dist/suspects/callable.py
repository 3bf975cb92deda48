"""A suspect as a Python function of the user's: an adapter to any other protocol."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import RefusedInputError, TooLargeError, TransientError


class CallableSuspect:
    """A function from an array of images to one response for each.

    It is the user's code and runs here: never name a function that came with the suspect.

    Args:
        function: returns a tensor, an array or a list.
        input_format: of the images.
    """

    def __init__(self, function: Callable[[np.ndarray], Any], input_format: InputFormat) -> None:
        self._function, self._input_format = function, input_format

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`. The function may raise TransientError and TooLargeError itself.

        Raises:
            UserError: not one response for each image, or the function raised another exception.
        """
        try:
            found = self._function(self._input_format.encode(images))
        except (TransientError, TooLargeError, UserError):
            raise
        except Exception as error:
            cause = (str(error).splitlines() or [""])[0]
            raise RefusedInputError(
                f"the function of the suspect raised {type(error).__name__}: {cause}; fix it"
            ) from error
        responses = _plain(found)
        if not isinstance(responses, list) or len(responses) != len(images):
            raise UserError(
                f"suspect: expected one response for each of {len(images)} images, got {type(found).__name__}"
                f"{f' of {len(responses)}' if isinstance(responses, list) else ''}; fix the function"
            )
        return responses


def _plain(found: Any) -> Any:
    """Arrays and numpy numbers, also inside lists, as Python's own: JSON has no others."""
    if isinstance(found, list | tuple):
        return [_plain(item) for item in found]
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    return found.tolist() if isinstance(found, np.ndarray | np.generic | Tensor) else found


def function_at(path: str) -> Callable[[np.ndarray], Any]:
    """The function at `module:name`.

    Raises:
        UserError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"suspect {path}: expected a function as module:name ({error}); check PYTHONPATH", argument="at"
        ) from error
    if not callable(found):
        raise UserError(
            f"suspect {path}: expected a function, got {type(found).__name__}; name another one", argument="at"
        )
    if isinstance(found, torch.nn.Module):
        raise UserError(
            f"suspect {path}: expected a function of an array, got a torch module; wrap it in one", argument="at"
        )
    return found  # type: ignore[no-any-return]
