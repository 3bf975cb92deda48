"""Files of transcripts."""

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.file_lock import try_lock
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.records import OtherFormatError
from uapfp_dist.verification.querying.transcript import first_record

TRANSCRIPT = ".transcript.jsonl"
LOCK = ".verify.lock"
LONGEST_NAME = 80
"""Characters of a suspect's name that its files have."""


def _not_ours(out: Path, path: Path, whose: str) -> UserError:
    return UserError(
        f"out: expected a new folder, or this verification's own, {out} holds {path.name} of {whose}; choose another "
        "(nothing was sent)",
        argument="out",
    )


def make_folder(out: Path, kit: Kit, names: Sequence[str]) -> None:
    """Make the folder, or find that it is this verification's: another one's verdict would be lost in it.

    Raises:
        UserError: no folder can be there, or it holds the transcript of another kit or of somebody else.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(out.glob(f"*{TRANSCRIPT}")):
            with path.open("rb") as file:
                begin = first_record(file.readline())
            if begin and (begin.kit != kit.digest or sorted(begin.judged.names) != sorted(names)):
                raise _not_ours(out, path, "another kit or other suspects")
    except OtherFormatError as error:
        raise _not_ours(out, path, "another version") from error
    except OSError as error:
        raise UserError(
            f"out: expected a folder that can be written at {out} ({error.strerror})", argument="out"
        ) from error


def transcript_path(out: Path, name: str) -> Path:
    """The transcript of the suspect `name`."""
    return out / f"{file_name(name)}{TRANSCRIPT}"


def file_name(name: str) -> str:
    """Letters, digits and dashes; where other alphabets or an end are lost, a digest tells names apart."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "suspect"
    if name.isascii() and len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def folder_marker(out: Path) -> Iterator[Path]:
    """A file in `out` that every worker must see: in another folder of that name its queries would be counted anew."""
    marker = out / f".{secrets.token_hex(16)}.mark"
    marker.touch()
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Nobody else verifies in `out` inside the block; a killed process ends its lock.

    Raises:
        UserError: another one does.
    """
    try:
        file = (out / LOCK).open("ab")
    except OSError as error:
        raise UserError(
            f"out: expected a folder that can be written at {out} ({error.strerror})", argument="out"
        ) from error
    with file:
        if not try_lock(file):
            raise UserError(
                f"out: expected a folder in which nobody else verifies, another verification is running in {out}; "
                "wait for it to end, or name another (nothing was sent)",
                argument="out",
            )
        yield
