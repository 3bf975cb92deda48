"""Suspects from a JSON file."""

import json
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig


def load_suspects(path: Path) -> list[SuspectConfig]:
    """Suspects from a JSON file: a list of objects with the fields of SuspectConfig, files named as seen from there.

    Raises:
        UserError: no such file, or something else in it.
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
            classes = path.parent / row["classes"] if row.get("classes") else None
            at = _relative_to(path, row["at"]) if isinstance(row.get("at"), str) else row.get("at", "")
            found.append(SuspectConfig(**{**row, "at": at, "classes": classes}))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(
            f"suspects: expected a JSON list of objects in {path} ({error}); write one", argument="suspects"
        ) from error
    return found


def _relative_to(path: Path, at: str) -> str:
    """A suspect's file as it is named from the folder of the list; any other address as it is."""
    try:
        return str(path.parent / at) if at and (path.parent / at).is_file() else at
    except (OSError, ValueError):  # longer than a path can be, or none at all
        return at
