"""From a kit and suspects to a verdict on each: ask, keep every answer, judge by the transcripts and by nothing else.

The verdict is a function of the kit and the transcripts. Who has both comes to the same one, bit for bit.
"""

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects import OutputForm, Suspect, SuspectConfig, described, load_classes, open_suspect
from uapfp_dist.verification.asking import Asking, ask_all, check_asking
from uapfp_dist.verification.judge import Answered, SuspectVerdict, judge, most_suspects
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.sanity import examine
from uapfp_dist.verification.transcript import (
    MADE_BY,
    Ledger,
    Transcript,
    first_record,
    read_transcript,
    why_stopped,
)

TRANSCRIPT = ".transcript.jsonl"
LONGEST_ANSWER, LONGEST_PER_CLASS = 4096, 256
"""An answer to one image may take the first and, for every class, the second, in characters of JSON: a name with its
confidence fits several times. Transcripts are kept in memory, and liars may answer."""


LONGEST_NAME = 80
"""Characters of a suspect's name that its files have."""


@dataclass(frozen=True)
class Stopped:
    """A suspect was not asked to the end."""

    why: str
    """One line."""
    noted: bool = False
    """Its transcript says so and keeps what was answered: the others can be judged without it."""
    lost: bool = False
    """Whoever asked it is gone, and could note nothing."""


Task = Callable[[SuspectConfig], Stopped | None]
"""Asks one suspect; says what stopped it."""
Spread = Callable[[Task, Sequence[SuspectConfig]], list[Stopped | None]]
"""Performs a task for every suspect, somewhere."""
Opener = Callable[[SuspectConfig, tuple[int, int, int], int], Suspect]


@dataclass(frozen=True)
class Case:
    """One suspect with its evidence and the verdict on it."""

    verdict: SuspectVerdict
    probabilities: Tensor
    """(Q, C) float32, NaN where it was not asked."""
    begin: dict[str, Any]
    """The first record of its transcript: how it was asked."""
    ledger: Ledger
    sha256: str
    """Of the transcript."""
    stopped: str = ""
    """Why it could not be asked to the end: it counts among those judged together, and nothing is claimed of it."""

    def to_json(self) -> dict[str, Any]:
        """The verdict, with what was sent for it."""
        return {
            **self.verdict.to_json(),
            "queries_sent": self.ledger.queries,
            "failed_requests": self.ledger.failures,
            "asked_as": self.begin["suspect"],
            "transcript_sha256": self.sha256,
        }


def verify(
    kit: Kit,
    suspects: Sequence[SuspectConfig],
    out: Path,
    asking: Asking | None = None,
    alpha: float | None = None,
    spread: Spread | None = None,
    opener: Opener = open_suspect,
) -> list[Case]:
    """Ask every suspect and judge them together.

    Of several, those that were asked to the end get their verdict though another one was not: that one enters Holm's
    correction with p = 1, so that the others are judged as strictly as they would be with its answers. Calling again
    asks it the rest, and judges all of them again.

    Args:
        kit: what to ask and how to judge.
        suspects: with names of their own.
        out: folder of the transcripts; calling again with the same one resumes.
        asking: at what pace, within what limits; for each suspect.
        alpha: tolerated rate of false accusation over all of them; None: the kit's.
        spread: where suspects are asked; None: a thread each, in this process.
        opener: makes something that can be asked of a config.

    Raises:
        UserError: bad input, more suspects than the kit can decide (before anything is sent), or none that could be
            asked to the end; what was answered is kept.
    """
    asking = asking or Asking()
    check_asking(asking)
    names = [config.called for config in suspects]
    if not suspects or len({_slug(name) for name in names}) < len(names):
        raise UserError(
            f"suspects: expected one or more with different names, got {', '.join(names) or 'none'}; name them"
        )
    alpha = kit.alpha if alpha is None else alpha
    if not 0.0 < alpha < 1.0:
        raise UserError(f"alpha: expected a rate between 0 and 1, got {alpha:g} (nothing was sent)")
    most = max(most_suspects(kit, alpha), 1)
    if len(suspects) > most:
        raise UserError(
            f"suspects: this kit can decide at most {most} at once, got {len(suspects)}; enroll with --max-suspects "
            f"{len(suspects)}, or name fewer (nothing was sent)"
        )
    shape = (kit.images.shape[1], kit.images.shape[2], kit.images.shape[3])
    for config in suspects:
        kit.wanted(OutputForm(config.output, kit.class_names, load_classes(config.classes)).format, asking.max_queries)
        opener(config, shape, kit.n_classes)  # what is wrong with one is told before another one is asked
    _settle_in(out, kit, names)
    with _mark(out) as mark:
        judged = {"names": names, "alpha": alpha}
        task = partial(_ask, kit, mark, asking, judged, opener)
        stopped = (spread or _threads)(task, suspects)
    lost = zip(suspects, stopped, strict=True)
    stopped = [_note(kit, out, asking, judged, config, s) if s and s.lost else s for config, s in lost]
    failed = [(name, found) for name, found in zip(names, stopped, strict=True) if found]
    if len(failed) == len(names) or not all(found.noted for _, found in failed):
        name, first = min(failed, key=lambda entry: entry[1].noted)
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise UserError(f"suspect {name}: {first.why}{more}")
    return replay(kit, [transcript_path(out, name) for name in names])


def replay(kit: Kit, transcripts: Sequence[Path]) -> list[Case]:
    """Judge by transcripts alone; nothing is sent.

    Args:
        kit: that they were made with.
        transcripts: of all suspects that were judged together, in any order.

    Raises:
        UserError: a transcript that is changed, of another kit, or without those it was judged with; none is finished.
    """
    records = {path: read_transcript(path, kit.digest) for path in transcripts}
    begins = [given[0] for given in records.values()]
    if not all(_makes_sense(begin) for begin in begins):
        raise UserError("transcript: expected who was asked and how in its first line, got something else")
    judged = begins[0]["judged"] if begins else {"names": []}
    names = [begin["suspect"]["name"] for begin in begins]
    if any(begin["judged"] != judged for begin in begins) or sorted(names) != sorted(judged["names"]):
        raise UserError(
            f"replay: expected the transcripts of all that were judged together ({', '.join(judged['names'])}), got "
            f"{', '.join(names) or 'none'}; Holm's correction needs them all"
        )
    paths = [list(records)[names.index(name)] for name in judged["names"]]
    stopped = [why_stopped(records[path]) for path in paths]
    if all(stopped):
        said = f"{names[0]} was not asked to the end: {stopped[0]}" if names else "none was named"
        raise UserError(f"replay: expected the transcript of a finished verification, {said}")
    ledgers = [Ledger(records[path]) for path in paths]
    answered = [
        _not_answered(kit, records[path][0], why) if why else _answered(kit, records[path][0], ledger)
        for path, ledger, why in zip(paths, ledgers, stopped, strict=True)
    ]
    verdicts = judge(kit, answered, judged["alpha"])
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return [
        Case(verdict, given.probabilities, records[path][0], ledger, digest, why)
        for verdict, given, path, ledger, digest, why in zip(
            verdicts, answered, paths, ledgers, digests, stopped, strict=True
        )
    ]


def made_elsewhere(cases: Sequence[Case]) -> str:
    """A line where a suspect was asked by another version than this one, which judges; else empty.

    Older transcripts do not say who made them.
    """
    for case in cases:
        made = case.begin.get("made_by") or MADE_BY
        if made != MADE_BY:
            then, now = (", ".join(f"{name} {version}" for name, version in by.items()) for by in (made, MADE_BY))
            return f"{case.verdict.name} was asked by {then}; {now} judges here: last digits may differ"
    return ""


def _settle_in(out: Path, kit: Kit, names: Sequence[str]) -> None:
    """Make the folder, or find that it is this verification's: another one's verdict would be lost in it.

    Raises:
        UserError: no folder can be there, or it holds the transcript of another kit or of somebody else.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(out.glob(f"*{TRANSCRIPT}")):
            with path.open("rb") as file:
                begin = first_record(file.readline())
            if begin and (begin.get("kit") != kit.digest or sorted(begin["judged"]["names"]) != sorted(names)):
                raise UserError(
                    f"out: expected a new folder, or this verification's own, {out} holds {path.name} of another kit "
                    "or other suspects; choose another --out (nothing was sent)"
                )
    except OSError as error:
        raise UserError(f"out: expected a folder that can be written at {out} ({error.strerror})") from error


def transcript_path(out: Path, name: str) -> Path:
    """Where the transcript of the suspect `name` lies."""
    return out / f"{_slug(name)}{TRANSCRIPT}"


@contextmanager
def _mark(out: Path) -> Iterator[Path]:
    """A file in `out` that whoever asks must see: in another folder of that name its queries would be counted anew."""
    mark = out / f".{secrets.token_hex(16)}.mark"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _ask(
    kit: Kit,
    mark: Path,
    asking: Asking,
    judged: dict[str, Any],
    opener: Opener,
    config: SuspectConfig,
) -> Stopped | None:
    """Ask one suspect to the end. An error is a value here: the others are asked all the same."""
    shape, out = (kit.images.shape[1], kit.images.shape[2], kit.images.shape[3]), mark.parent
    try:
        if not mark.exists():
            raise UserError(f"out: expected {out} to be one folder on all machines, it is another one here; share it")
        transcript = _transcript(kit, out, asking, judged, config)
        try:
            suspect = opener(config, shape, kit.n_classes)
            longest = LONGEST_ANSWER + LONGEST_PER_CLASS * kit.n_classes
            begin = transcript.begin
            ask_all(suspect, kit.images, _wanted(kit, begin), transcript, asking, longest, _form(kit, begin).unreadable)
        except Exception as error:
            why = _cause(error, config)
            transcript.stopped(why)
            return Stopped(why, noted=True)
        finally:
            transcript.close()
    except Exception as error:
        return Stopped(_cause(error, config))
    return None


def _transcript(kit: Kit, out: Path, asking: Asking, judged: dict[str, Any], config: SuspectConfig) -> Transcript:
    begin = {
        "kit": kit.digest,
        "suspect": {"name": config.called, **described(config), "classes": load_classes(config.classes)},
        "judged": judged,
        "seed": asking.seed,
        "max_queries": asking.max_queries,
    }
    return Transcript(transcript_path(out, config.called), begin)


def _note(
    kit: Kit, out: Path, asking: Asking, judged: dict[str, Any], config: SuspectConfig, stopped: Stopped
) -> Stopped:
    """In its transcript, for who was lost while asking it."""
    try:
        transcript = _transcript(kit, out, asking, judged, config)
    except UserError as error:
        return Stopped(str(error))
    try:
        transcript.stopped(stopped.why)
    finally:
        transcript.close()
    return Stopped(stopped.why, noted=True)


def _cause(error: Exception, config: SuspectConfig) -> str:
    """In one line; a defect, which must neither look like silence nor end the others, is logged whole."""
    if isinstance(error, UserError):
        return str(error)
    logging.getLogger(__name__).error("while asking %s", config.called, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _threads(task: Task, suspects: Sequence[SuspectConfig]) -> list[Stopped | None]:
    """A thread each; they die with the process, so that Ctrl-C ends it: transcripts are whole at any moment."""
    if len(suspects) == 1:
        return [task(suspects[0])]
    found: list[Stopped | None] = [Stopped("given up")] * len(suspects)

    def one(i: int) -> None:
        found[i] = task(suspects[i])

    threads = [Thread(target=one, args=(i,), daemon=True) for i in range(len(suspects))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _answered(kit: Kit, begin: dict[str, Any], ledger: Ledger) -> Answered:
    suspect, form = begin["suspect"], _form(kit, begin)
    if ledger.answers.keys() != set(_wanted(kit, begin).tolist()):
        raise UserError(
            f"transcript of {suspect['name']}: expected answers to just the images that the kit asks of such a "
            "suspect, got others; take a whole one"
        )
    probabilities, findings = examine(kit, form, ledger.answers)
    fatal = any(finding.fatal for finding in findings)
    return Answered(suspect["name"], probabilities, form.format, tuple(f.text for f in findings), fatal)


def _not_answered(kit: Kit, begin: dict[str, Any], why: str) -> Answered:
    """Half of the answers would be another test than the kit's: there are none until there are all, so p is 1."""
    nothing = torch.full((len(kit.images), kit.n_classes), torch.nan)
    return Answered(begin["suspect"]["name"], nothing, _form(kit, begin).format, (f"not answered: {why}",))


def _makes_sense(begin: dict[str, Any]) -> bool:
    """What is read of a first record, or shown, has the types it should have."""
    suspect, judged, made_by, most = (begin.get(key) for key in ("suspect", "judged", "made_by", "max_queries"))
    if not isinstance(suspect, dict) or not isinstance(judged, dict) or not isinstance(judged.get("names"), list):
        return False
    classes = suspect.get("classes")
    if not isinstance(classes, list | dict | None) or not isinstance(made_by, dict | None):
        return False
    texts = [suspect.get("name"), suspect.get("output"), *judged["names"]]
    texts += [*classes, *classes.values()] if isinstance(classes, dict) else classes or []
    numbers = isinstance(judged.get("alpha"), float) and (most is None or type(most) is int)
    return numbers and all(isinstance(text, str) for text in texts) and all(map(_plain, suspect.values()))


def _plain(value: Any) -> bool:
    """Whether a value that is only shown is a text, a whole number or nothing, or a list or object of these."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int) for item in items)


def _form(kit: Kit, begin: dict[str, Any]) -> OutputForm:
    return OutputForm(begin["suspect"]["output"], kit.class_names, begin["suspect"].get("classes"))


def _wanted(kit: Kit, begin: dict[str, Any]) -> Tensor:
    """(W,) int64: what a transcript that begins so asks, settled before the first answer."""
    return kit.wanted(_form(kit, begin).format, begin.get("max_queries"))


def _slug(name: str) -> str:
    """A file name: letters, digits and dashes; where other alphabets or an end are lost, a digest tells names apart."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "suspect"
    if name.isascii() and len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


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
            unknown = [key for key in row if key not in known]
            if unknown:
                raise UserError(f"suspects: unknown field {unknown[0]!r} in {path}; known: {', '.join(sorted(known))}")
            classes = path.parent / row["classes"] if row.get("classes") else None
            at = _beside(path, row["at"]) if isinstance(row.get("at"), str) else row.get("at", "")
            found.append(SuspectConfig(**{**row, "at": at, "classes": classes}))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(f"suspects: expected a JSON list of objects in {path} ({error}); write one") from error
    return found


def _beside(path: Path, at: str) -> str:
    """A suspect's file as it is named from where the list lies; any other address as it is."""
    try:
        return str(path.parent / at) if at and (path.parent / at).is_file() else at
    except (OSError, ValueError):  # longer than a path can be, or none at all
        return at
