"""A suspect as a function of the user's own: an adapter to whatever protocol there is no file for here."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.input_form import InputForm
from uapfp_dist.suspects.suspect import TooLargeError, TransientError


class CallableSuspect:
    """A function from an array of images, in the form asked for, to one answer for each.

    It is the user's code and runs here: never name a function that came from the suspect.

    Args:
        function: gives a tensor, an array or a list.
        form: of the images.
    """

    def __init__(self, function: Callable[[np.ndarray], Any], form: InputForm) -> None:
        self._function, self._form = function, form

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.ask`. The function may raise TransientError and TooLargeError itself.

        Raises:
            UserError: not one answer for each image, or whatever else the function raised.
        """
        try:
            found = self._function(self._form.encode(images))
        except (TransientError, TooLargeError, UserError):
            raise
        except Exception as error:
            cause = (str(error).splitlines() or [""])[0]
            raise UserError(f"the function of the suspect raised {type(error).__name__}: {cause}; mend it") from error
        answers = _plain(found)
        if not isinstance(answers, list) or len(answers) != len(images):
            raise UserError(
                f"suspect: expected one answer for each of {len(images)} images, got {type(found).__name__}"
                f"{f' of {len(answers)}' if isinstance(answers, list) else ''}; mend the function"
            )
        return answers


def _plain(found: Any) -> Any:
    """Arrays and numpy's numbers, also inside lists, as Python's own: only those can be written down."""
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
        raise UserError(f"suspect {path}: expected a function as module:name ({error}); check PYTHONPATH") from error
    if not callable(found):
        raise UserError(f"suspect {path}: expected a function, got {type(found).__name__}; name another one")
    if isinstance(found, torch.nn.Module):
        raise UserError(f"suspect {path}: expected a function of an array, got a torch module; wrap it in one")
    return found  # type: ignore[no-any-return]
