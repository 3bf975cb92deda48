"""What was made again after a death, from two records that the product does not write: Ray's of every task that ran,
and the S3 server's of every object that it took."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uapfp_dist.serialization import Json

SPEC = re.compile(r"Worker\.perform ([a-z_]+) ([0-9a-f]{8,})")
"""The name of a task on a worker."""
STARTS_WRITE = ("splits", "plan", "report", "publication", "marks")
"""Kinds that no worker makes: every start of a job writes some of them."""
JUDGED = "draw"
"""Kind of what the central actor makes and stores one by one: the scores of a resample."""


@dataclass(frozen=True)
class Attempt:
    """A task that a worker has begun. Times are seconds since 1970."""

    spec: str
    """Its kind and id, KIND/ID, as in the storage."""
    node: str
    """Ray's id of the node."""
    began: float
    ended: float | None
    """None: Ray knows of no end."""


@dataclass(frozen=True)
class Stored:
    """An object that the S3 server has taken."""

    at: float
    spec: str
    """Its kind and id."""


@dataclass(frozen=True)
class Count:
    """What was made again."""

    made: int
    """Specs that were made."""
    in_flight: int
    """Of them, in work at the moment of the death, by what died."""
    made_again: int
    """Tasks that were begun beyond one for each spec."""
    stored_again: int
    """Artifacts that were stored beyond one for each spec."""
    unseen: int
    """Artifacts of workers of which Ray has no record that they were begun: it was lost with a process."""
    beyond: tuple[str, ...]
    """Specs that were begun or stored more often than the death explains: there must be none."""


def read_attempts(tasks: Iterable[Mapping[str, Json]]) -> list[Attempt]:
    """From the answer of Ray's state API: the tasks named after a spec that a worker has begun.

    Args:
        tasks: each with `name`, `node_id`, `start_time_ms` and `end_time_ms`.
    """
    found = []
    for task in tasks:
        began, ended = task.get("start_time_ms"), task.get("end_time_ms")
        spec = SPEC.fullmatch(str(task["name"]))
        if spec and isinstance(began, (int, float)) and began > 0:
            end = ended / 1000 if isinstance(ended, (int, float)) and ended > 0 else None
            found.append(Attempt("/".join(spec.groups()), str(task["node_id"]), began / 1000, end))
    return found


def read_journal(journal: Path, prefix: str) -> list[Stored]:
    """The artifacts below `prefix` (BUCKET/FOLDER) that were stored, in that order. A line in writing is left out."""
    found = []
    text = journal.read_text() if journal.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            at, path = json.loads(line)
            kind, _, name = path.removeprefix(f"{prefix}/").partition("/")
            if path.startswith(f"{prefix}/") and name.endswith(".safetensors"):
                found.append(Stored(at, f"{kind}/{name.removesuffix('.safetensors')}"))
    return found


def tasks_among(specs: Iterable[str]) -> list[str]:
    """Of artifacts, as KIND/ID, those that workers make."""
    return [spec for spec in specs if spec.partition("/")[0] not in (*STARTS_WRITE, JUDGED)]


def in_flight(attempts: Iterable[Attempt], at: float, gone: float, node: str | None = None) -> set[str]:
    """Specs that were in work while something died.

    Args:
        attempts: of one run.
        at: when it was killed.
        gone: when its last process had ended: until then it may begin more.
        node: the one that died; None: all.
    """
    return {
        one.spec
        for one in attempts
        if one.began <= gone and (one.ended is None or one.ended >= at) and node in (None, one.node)
    }


def count(attempts: Sequence[Attempt], stored: Sequence[Stored], lost: Collection[str]) -> Count:
    """What was begun and stored more than once.

    Scores of resamples, which no worker makes, are counted by what was stored.

    Args:
        attempts: of one run, over all its jobs.
        stored: in its folder.
        lost: specs that may be made a second time: what died was at work on them.
    """
    tries = Counter(one.spec for one in attempts)
    puts = Counter(one.spec for one in stored if one.spec.partition("/")[0] not in STARTS_WRITE)
    more = {spec for spec, n in (*tries.items(), *puts.items()) if n > (2 if spec in lost else 1)}
    return Count(
        made=len(tries),
        in_flight=len(lost),
        made_again=sum(tries.values()) - len(tries),
        stored_again=sum(puts.values()) - len(puts),
        unseen=len(set(tasks_among(puts)) - set(tries)),
        beyond=tuple(sorted(more)),
    )


def recovery_seconds(stored: Sequence[Stored], lost: Collection[str], death: float) -> float | None:
    """From the death until all that was lost is stored; where nothing was, until the next artifact is.

    None: nothing was stored after it.
    """
    after = [one.at for one in stored if one.at > death and (not lost or one.spec in lost)]
    if not after:
        return None
    return round((max(after) if lost else min(after)) - death, 1)
