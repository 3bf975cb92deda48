"""Suspects from a JSON file."""

import json
from dataclasses import replace
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.config import FILES, LOCAL, SuspectConfig


def load_suspects(path: Path) -> list[SuspectConfig]:
    """Suspects from a JSON file: a list of objects with the fields of SuspectConfig, files named as seen from there.

    Raises:
        UserError: no such file, something else in it, or a suspect's file that is not there.
    """
    known = SuspectConfig.__dataclass_fields__
    try:
        rows = json.loads(path.read_text())
        if not isinstance(rows, list):
            raise TypeError(f"got {type(rows).__name__}")
        found = []
        for row in rows:
            if not isinstance(row, dict):
                raise TypeError(f"got {type(row).__name__} in the list")
            unknown = [key for key in row if key not in known]
            if unknown:
                raise UserError(
                    f"suspects: unknown field {unknown[0]!r} in {path}; known: {', '.join(sorted(known))}",
                    argument="suspects",
                )
            files = {name: _beside(path, row[name]) for name in (*FILES, "classes") if name in row}
            found.append(_with_file(path, SuspectConfig(**{**row, **files})))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(
            f"suspects: expected a JSON list of objects in {path} ({error}); write one", argument="suspects"
        ) from error
    return found


def _beside(path: Path, value: object) -> object:
    """A file as it is named from the folder of the list; what names none as it is."""
    if isinstance(value, str):
        return path.parent / Path(value).expanduser() if value else None
    return value


def _with_file(path: Path, suspect: SuspectConfig) -> SuspectConfig:
    """With its own file, if it is one, as it is named from the folder of the list.

    Raises:
        UserError: there is none.
    """
    if suspect.protocol not in LOCAL or not suspect.at:
        return suspect
    file = path.parent / Path(suspect.at).expanduser()
    try:
        there = file.is_file()
    except OSError:  # longer than a path can be
        there = False
    if not there:
        raise UserError(
            f"suspects: expected the file of a suspect as seen from the folder of {path}, found none at "
            f"{one_line(str(file), 200)}; name it from there, or another address with its scheme",
            argument="suspects",
        )
    return replace(suspect, at=str(file))
