"""What a part has found so far, on disk after each measurement: it may be ended at any moment."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uapfp_dist.messages import one_line
from uapfp_dist.serialization import Json, from_json, to_json
from uapfp_dist.whole_file import whole_file


@dataclass(frozen=True)
class PartNotes:
    """One part."""

    seconds: float = 0.0
    """That it has taken so far."""
    done: dict[str, Json] = field(default_factory=dict)
    """Measurement to what it found."""
    failed: dict[str, str] = field(default_factory=dict)
    """Measurement to why, in one line."""
    not_reached: tuple[str, ...] = ()
    skipped: str = ""
    """Why the whole part was."""


class Notes:
    """Takes the measurements of one part and writes them.

    Args:
        path: of the file.
        planned: names of all measurements, in their order.
        until: `time.monotonic()` after which none begins.
        say: takes a line per measurement.
    """

    def __init__(self, path: Path, planned: Sequence[str], until: float, say: Callable[[str], object]) -> None:
        self._path, self._say = path, say
        self._planned, self.until = tuple(planned), until
        self._began = time.monotonic()
        self._done: dict[str, Json] = {}
        self._failed: dict[str, str] = {}
        self._skipped = ""
        self._write()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def take(self, name: str, measure: Callable[[], object]) -> None:
        """Measure and write, unless time is up; a failure is noted and the next one has its turn."""
        if self.left <= 0:
            return
        try:
            self.put(name, measure())
        except Exception as error:
            self._failed[name] = f"{type(error).__name__}: {one_line(error, 300)}"
            self._say(f"  {name}: failed: {self._failed[name]}")
            self._write()

    def put(self, name: str, found: object) -> None:
        """Write what was found, in place of what was found before."""
        self._done[name] = to_json(found)
        self._say(f"  {name}: {json.dumps(self._done[name])}")
        self._write()

    def skip(self, why: str) -> None:
        """Nothing of this part can be measured here."""
        self._skipped = why
        self._say(f"  skipped: {why}")
        self._write()

    def _write(self) -> None:
        open_ = (
            ()
            if self._skipped
            else tuple(name for name in self._planned if name not in self._done and name not in self._failed)
        )
        found = PartNotes(time.monotonic() - self._began, self._done, self._failed, open_, self._skipped)
        with whole_file(self._path) as new:
            new.write_text(json.dumps(to_json(found), indent=1))


def read_notes(path: Path) -> PartNotes:
    """What a part has written; nothing, where it has not begun."""
    return from_json(PartNotes, json.loads(path.read_text())) if path.is_file() else PartNotes()
