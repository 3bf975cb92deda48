"""The private seed of an enrolment: drawn once, in a file beside the kit, which never holds it."""

import os
import secrets
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.whole_file import whole_file

BITS = 63


def seed_file(kit: Path) -> Path:
    """Beside the kit, under its name."""
    return kit.with_name(f"{kit.name}.seed")


def draw_seed() -> int:
    """From the system's entropy."""
    return secrets.randbits(BITS)


def read_seed(kit: Path) -> int | None:
    """The seed that an earlier start of the same enrolment drew; None if there is none.

    Raises:
        UserError: a file that holds no seed, or cannot be read.
    """
    path = seed_file(kit)
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"seed: expected a file that can be read at {path} ({error})", argument="seed") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or not lines[0].isascii() or not lines[0].isdigit() or int(lines[0]) >= 2**BITS:
        raise UserError(
            f"seed: expected one number in {path}, as an enrolment wrote it; restore the file, or remove it to begin "
            "anew with another seed",
            argument="seed",
        )
    return int(lines[0])


def write_seed(kit: Path, seed: int) -> None:
    """Whole or not at all, for its owner's eyes only.

    Raises:
        UserError: it cannot be written.
    """
    path = seed_file(kit)
    text = (
        f"# Every random choice of the enrolment of {kit.name!a}. Kept beside the kit, not in it:\n# whoever knows "
        f"it can make the victim's siblings. The same command resumes with it.\n{seed}\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as new, os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise UserError(
            f"out: expected a folder in which the seed can be kept, {path} cannot be written ({error.strerror})",
            argument="out",
        ) from error
