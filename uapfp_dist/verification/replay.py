"""Judge by a kit and transcripts alone; nothing is sent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.verification.judge import judge
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.sanity import examine
from uapfp_dist.verification.transcript import MADE_BY, Ledger, read_transcript, why_stopped
from uapfp_dist.verification.verdict import SuspectAnswers, SuspectVerdict


@dataclass(frozen=True)
class JudgedSuspect:
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


def replay(kit: Kit, transcripts: Sequence[Path]) -> list[JudgedSuspect]:
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
        JudgedSuspect(verdict, given.probabilities, records[path][0], ledger, digest, why)
        for verdict, given, path, ledger, digest, why in zip(
            verdicts, answered, paths, ledgers, digests, stopped, strict=True
        )
    ]


def made_elsewhere(cases: Sequence[JudgedSuspect]) -> str:
    """A line where a suspect was asked by another version than this one, which judges; else empty.

    Older transcripts do not say who made them.
    """
    for case in cases:
        made = case.begin.get("made_by") or MADE_BY
        if made != MADE_BY:
            then, now = (", ".join(f"{name} {version}" for name, version in by.items()) for by in (made, MADE_BY))
            return f"{case.verdict.name} was asked by {then}; {now} judges here: last digits may differ"
    return ""


def _answered(kit: Kit, begin: dict[str, Any], ledger: Ledger) -> SuspectAnswers:
    suspect, form = begin["suspect"], _form(kit, begin)
    if ledger.answers.keys() != set(_wanted(kit, begin).tolist()):
        raise UserError(
            f"transcript of {suspect['name']}: expected answers to just the images that the kit asks of such a "
            "suspect, got others; take a whole one"
        )
    probabilities, findings = examine(kit, form, ledger.answers)
    fatal = any(finding.fatal for finding in findings)
    return SuspectAnswers(suspect["name"], probabilities, form.format, tuple(f.text for f in findings), fatal)


def _not_answered(kit: Kit, begin: dict[str, Any], why: str) -> SuspectAnswers:
    """Half of the answers would be another test than the kit's: there are none until there are all, so p is 1."""
    nothing = torch.full((len(kit.images), kit.n_classes), torch.nan)
    return SuspectAnswers(begin["suspect"]["name"], nothing, _form(kit, begin).format, (f"not answered: {why}",))


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


def _form(kit: Kit, begin: dict[str, Any]) -> OutputFormat:
    return OutputFormat(begin["suspect"]["output"], kit.class_names, begin["suspect"].get("classes"))


def _wanted(kit: Kit, begin: dict[str, Any]) -> Tensor:
    """(W,) int64: what a transcript that begins so asks, settled before the first answer."""
    return kit.wanted(_form(kit, begin).format, begin.get("max_queries"))
