"""From a kit and suspects to a verdict on each: ask, keep every answer, judge by the transcripts and by nothing else.

The verdict is a function of the kit and the transcripts. Who has both comes to the same one, bit for bit.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects import OutputForm, Suspect, SuspectConfig, described, load_classes, open_suspect
from uapfp_dist.verification.asking import Asking, ask_all, check_asking
from uapfp_dist.verification.judge import Answered, SuspectVerdict, judge, most_suspects
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.sanity import examine
from uapfp_dist.verification.transcript import Ledger, Transcript, read_transcript

Task = Callable[[SuspectConfig], str]
"""Asks one suspect; returns what stopped it in one line, or an empty string."""
Spread = Callable[[Task, Sequence[SuspectConfig]], list[str]]
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

    Args:
        kit: what to ask and how to judge.
        suspects: with names of their own.
        out: folder of the transcripts; calling again with the same one resumes.
        asking: at what pace, within what limits; for each suspect.
        alpha: tolerated rate of false accusation over all of them; None: the kit's.
        spread: where suspects are asked; None: a thread each, in this process.
        opener: makes something that can be asked of a config.

    Raises:
        UserError: bad input, more suspects than the kit can decide (before anything is sent), or a suspect that could
            not be asked to the end; what was answered is kept.
    """
    asking = asking or Asking()
    check_asking(asking)
    names = [config.called for config in suspects]
    if not suspects or len({_slug(name) for name in names}) < len(names):
        raise UserError(
            f"suspects: expected one or more with different names, got {', '.join(names) or 'none'}; name them"
        )
    most = max(most_suspects(kit, kit.alpha if alpha is None else alpha), 1)
    if len(suspects) > most:
        raise UserError(
            f"suspects: this kit can decide at most {most} at once, got {len(suspects)}; enroll with --max-suspects "
            f"{len(suspects)}, or name fewer (nothing was sent)"
        )
    shape = (kit.images.shape[1], kit.images.shape[2], kit.images.shape[3])
    for config in suspects:
        kit.wanted(OutputForm(config.output, kit.class_names, load_classes(config.classes)).format, asking.max_queries)
        opener(config, shape, kit.n_classes)  # what is wrong with one is told before another one is asked
    out.mkdir(parents=True, exist_ok=True)
    task = partial(_ask, kit, out, asking, alpha, tuple(names), opener)
    stopped = (spread or _threads)(task, suspects)
    if failed := [f"{name}: {why}" for name, why in zip(names, stopped, strict=True) if why]:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise UserError(f"suspect {failed[0]}{more}")
    return replay(kit, [transcript_path(out, name) for name in names])


def replay(kit: Kit, transcripts: Sequence[Path]) -> list[Case]:
    """Judge by transcripts alone; nothing is sent.

    Args:
        kit: that they were made with.
        transcripts: of all suspects that were judged together, in any order.

    Raises:
        UserError: a transcript that is changed, not finished, of another kit, or without those it was judged with.
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
    ledgers = [Ledger(records[path]) for path in paths]
    answered = [_answered(kit, records[path][0], ledger) for path, ledger in zip(paths, ledgers, strict=True)]
    verdicts = judge(kit, answered, judged["alpha"])
    return [
        Case(verdict, given.probabilities, records[path][0], ledger, hashlib.sha256(path.read_bytes()).hexdigest())
        for verdict, given, path, ledger in zip(verdicts, answered, paths, ledgers, strict=True)
    ]


def transcript_path(out: Path, name: str) -> Path:
    """Where the transcript of the suspect `name` lies."""
    return out / f"{_slug(name)}.transcript.jsonl"


def _ask(
    kit: Kit,
    out: Path,
    asking: Asking,
    alpha: float | None,
    names: tuple[str, ...],
    opener: Opener,
    config: SuspectConfig,
) -> str:
    """Ask one suspect to the end. A user's error is a value here: the others are asked all the same."""
    shape = (kit.images.shape[1], kit.images.shape[2], kit.images.shape[3])
    try:
        suspect = opener(config, shape, kit.n_classes)
        begin = {
            "kit": kit.digest,
            "suspect": {"name": config.called, **described(config), "classes": load_classes(config.classes)},
            "judged": {"names": list(names), "alpha": kit.alpha if alpha is None else alpha},
            "seed": asking.seed,
            "max_queries": asking.max_queries,
        }
        transcript = Transcript(transcript_path(out, config.called), begin)
        try:
            ask_all(suspect, kit.images, _wanted(kit, transcript.begin), transcript, asking)
        finally:
            transcript.close()
    except UserError as error:
        return str(error)
    except Exception as error:  # a defect with one must neither look like silence nor end the others
        logging.getLogger(__name__).exception("while asking %s", config.called)
        return f"{type(error).__name__}: {error}"
    return ""


def _threads(task: Task, suspects: Sequence[SuspectConfig]) -> list[str]:
    """A thread each; they die with the process, so that Ctrl-C ends it: transcripts are whole at any moment."""
    if len(suspects) == 1:
        return [task(suspects[0])]
    found = ["given up"] * len(suspects)

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


def _makes_sense(begin: dict[str, Any]) -> bool:
    """What is read of a first record has the types it should have."""
    suspect, judged, most = begin.get("suspect"), begin.get("judged"), begin.get("max_queries")
    if not isinstance(suspect, dict) or not isinstance(judged, dict) or not isinstance(judged.get("names"), list):
        return False
    classes = suspect.get("classes")
    named = [*classes.items()] if isinstance(classes, dict) else [[name] for name in classes or ()]
    texts = [suspect.get("name"), suspect.get("output"), *judged["names"], *(text for row in named for text in row)]
    numbers = isinstance(judged.get("alpha"), float) and (most is None or isinstance(most, int))
    return numbers and all(isinstance(text, str) for text in texts) and isinstance(classes, list | dict | None)


def _form(kit: Kit, begin: dict[str, Any]) -> OutputForm:
    return OutputForm(begin["suspect"]["output"], kit.class_names, begin["suspect"]["classes"])


def _wanted(kit: Kit, begin: dict[str, Any]) -> Tensor:
    """(W,) int64: what a transcript that begins so asks, settled before the first answer."""
    return kit.wanted(_form(kit, begin).format, begin["max_queries"])


def _slug(name: str) -> str:
    """A file name: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "suspect"


def load_suspects(path: Path) -> list[SuspectConfig]:
    """Suspects from a JSON file: a list of objects with the fields of SuspectConfig.

    Raises:
        UserError: no such file, or something else in it.
    """
    known = SuspectConfig.__dataclass_fields__
    try:
        rows = json.loads(path.read_text())
        found = []
        for row in rows:
            unknown = [key for key in row if key not in known]
            if unknown:
                raise UserError(f"suspects: unknown field {unknown[0]!r} in {path}; known: {', '.join(sorted(known))}")
            classes = path.parent / row["classes"] if row.get("classes") else None
            found.append(SuspectConfig(**{**row, "classes": classes}))
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"suspects: expected a JSON list of objects in {path} ({error}); write one") from error
    return found
