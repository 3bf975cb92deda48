"""A net from a factory in the user's code, by import path."""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.models.architecture_names import is_published
from uapfp_dist.models.net import Net


def is_import_path(architecture: str) -> bool:
    """Whether an architecture is `package.module:factory` rather than a name, known here or to a library."""
    return ":" in architecture and not is_published(architecture)


class ModuleNet(Net):
    """Any torch module; its logits serve as features, because its last layer is not known.

    Args:
        module: from (B, c, h, w) images to (B, C) logits; it is not copied.
        channels: c, or 1 where mean and std are the same for all.
        n_classes: C.
    """

    def __init__(self, module: nn.Module, channels: int, n_classes: int) -> None:
        super().__init__(channels)
        self.module = module
        self.n_classes = n_classes

    def normalise_by(self, images: Tensor) -> None:
        """No effect: the module does its own preprocessing, also in copies that are trained."""

    def prepare(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) normalised images as the module takes them: the same."""
        return normalised

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, C) logits."""
        logits = self.module(normalised)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise UserError("victim: expected (B, C) logits of its forward pass, got something else; wrap the module")
        return logits

    def head(self, features: Tensor) -> Tensor:
        """The logits as they are."""
        return features


class CustomNet(ModuleNet):
    """A module that a factory in the user's code makes.

    Args:
        path: `package.module:factory`; `factory(n_classes, shape)` gives a module from (B, c, h, w) images in [0, 1]
            to (B, C) logits, which does its own preprocessing unless mean and std are given separately.
        shape: (c, h, w).
        n_classes: C.

    Raises:
        UserError: nothing at that path, or not a module.
    """

    def __init__(self, path: str, shape: tuple[int, int, int], n_classes: int) -> None:
        module = _factory(path)(n_classes, shape)
        if not isinstance(module, nn.Module):
            raise UserError(f"architecture {path}: expected a torch module, the factory gave {type(module).__name__}")
        super().__init__(module, shape[0], n_classes)


def import_function(path: str, role: str, signature: str) -> Callable[..., object]:
    """A function of the user's; importing it runs the user's code.

    Args:
        path: `package.module:function`.
        role: what it is for, for errors.
        signature: what it should be, likewise.

    Raises:
        UserError: nothing at that path, code that cannot be imported, or no function.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise UserError(
            f"{role} {path}: expected package.module:{'factory' if role == 'architecture' else 'function'} on "
            f"the import path of every node ({one_line(error)}); set PYTHONPATH or install the package"
        ) from error
    if not callable(found):
        raise UserError(f"{role} {path}: expected a function {signature}, got {found!r:.60}")
    return found  # type: ignore[no-any-return]


def source_digest(function: Callable[..., object]) -> str:
    """SHA-256 of the file that a function stands in; empty where it stands in none."""
    try:
        found = inspect.getsourcefile(inspect.unwrap(function))
        return hashlib.sha256(Path(found).read_bytes()).hexdigest() if found else ""
    except (OSError, TypeError):
        return ""


def factory_digest(architecture: str) -> str:
    """That of an import path's factory, empty for a known name.

    Raises:
        UserError: nothing at that path.
    """
    return source_digest(_factory(architecture)) if is_import_path(architecture) else ""


def _factory(path: str) -> Callable[..., object]:
    return import_function(path, "architecture", "(n_classes, shape) -> module")
