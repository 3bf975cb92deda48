"""Save a kit with its register beside it."""

import contextlib
from pathlib import Path

from uapfp_dist.verification.kit.io import save_kit, with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.register.register import Register, register_path


def save_with_register(kit: Kit, folder: Path) -> str:
    """Save a kit and, with churn points, begin its register; returns its digest.

    The register comes first, and a kit that is there already gets none: where one is without it, it was removed, and
    with it what the kit was asked.

    Args:
        kit: to save.
        folder: of the kit, a new one, or one that holds this kit.

    Raises:
        UserError: something else is there already, nothing can be written, or the kit is there without its register.
    """
    if kit.churn is None:
        return save_kit(kit, folder)
    path = register_path(folder)
    if folder.exists() or folder.is_symlink():
        digest = save_kit(kit, folder)
        Register.open(path, digest)
        return digest
    began = not path.exists()
    with contextlib.suppress(OSError):  # the register says what cannot be written
        folder.parent.mkdir(parents=True, exist_ok=True)
    Register.open(path, with_digest(kit).digest, create=True)
    try:
        return save_kit(kit, folder)
    except BaseException:
        if began:
            path.unlink(missing_ok=True)
        raise
