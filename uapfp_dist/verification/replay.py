"""Judge by a kit and transcripts alone; nothing is sent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.response_checks import check_responses
from uapfp_dist.verification.judging.verdict import SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Record
from uapfp_dist.verification.querying.transcript import MADE_BY, read_transcript, why_stopped


@dataclass(frozen=True)
class JudgedSuspect:
    """One suspect with its evidence and the verdict on it."""

    verdict: SuspectVerdict
    probabilities: Tensor
    """(Q, C) float32, NaN where it was not queried."""
    begin: Begin
    """The first record of its transcript: how it was queried."""
    ledger: Ledger
    sha256: str
    """Of the transcript."""
    stopped: str = ""
    """Why it was not fully queried: it counts among those judged together, and nothing is claimed of it."""


def replay(kit: Kit, transcripts: Sequence[Path], looks: OtherLooks | None = None) -> list[JudgedSuspect]:
    """Judge by transcripts alone; nothing is sent.

    Args:
        kit: that they were made with.
        transcripts: of all suspects that were judged together, in any order.
        looks: at other suspects with the same kit, see `judge`; None where they are not known: with churn points
            p-values are corrected for all that the kit was enrolled for all the same.

    Raises:
        UserError: a transcript that is changed, of another kit, or without those it was judged with; none is finished.
    """
    evidence = _in_order([_Evidence.read(path, kit) for path in dict.fromkeys(transcripts)])
    alpha = evidence[0].begin.judged.alpha
    responses = [one.responses(kit) for one in evidence]
    verdicts = judge(kit, responses, alpha, looks)
    return [
        JudgedSuspect(verdict, given.probabilities, one.begin, one.ledger, one.sha256, one.stopped)
        for verdict, given, one in zip(verdicts, responses, evidence, strict=True)
    ]


@dataclass(frozen=True)
class _Evidence:
    """One transcript."""

    begin: Begin
    records: Sequence[Record]
    sha256: str

    @staticmethod
    def read(path: Path, kit: Kit) -> "_Evidence":
        """Of a file that was made with `kit`."""
        records = read_transcript(path, kit.digest)
        begin = records[0]
        assert isinstance(begin, Begin)
        return _Evidence(begin, records, sha256_of(path))

    @property
    def stopped(self) -> str:
        """Why it is not finished; empty where it is."""
        return why_stopped(self.records)

    @cached_property
    def ledger(self) -> Ledger:
        """Its responses and queries."""
        return Ledger(self.records)

    def responses(self, kit: Kit) -> SuspectResponses:
        """What the suspect responded. Half of it would be another test than the kit's: none counts until all is there.

        Raises:
            UserError: responses to other images than the kit requires.
        """
        form = output_form(kit, self.begin)
        if why := self.stopped:
            nothing = torch.full((len(kit.images), kit.n_classes), torch.nan)
            return SuspectResponses(self.begin.name, nothing, form.format, (f"not answered: {why}",))
        responses = self.ledger.responses
        if responses.keys() != set(required_images(kit, self.begin).tolist()):
            raise UserError(
                f"transcript of {self.begin.name}: expected answers to just the images that the kit requires of such "
                "a suspect, got others; take a complete one"
            )
        probabilities, findings = check_responses(kit, form, responses)
        fatal = any(finding.fatal for finding in findings)
        texts = [finding.text for finding in findings]
        checked = None
        if check := kit.input_check:
            resized = "size" in self.begin.suspect
            checked = check.result(form, responses, resized=resized)
            every = check.result(form, responses, (0, len(check.images)), resized=resized)
            if checked.passed and not every.passed:
                texts.append(f"{every.text}: a weaker model than those, or its input has another form")
        exact = bool(self.begin.exact)
        n_points = kit.n_churn_points(self.begin.max_queries, exact) if kit.churn else None
        return SuspectResponses(
            self.begin.name,
            probabilities,
            form.format,
            tuple(texts),
            fatal,
            bool(self.begin.fatal_is_one),
            checked,
            point_set=self.begin.point_set or 0,
            n_churn_points=n_points,
            exact=exact,
        )


def sha256_of(path: Path) -> str:
    """64 hex digits over the bytes of a transcript; a verdict and the register name it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _in_order(evidence: Sequence[_Evidence]) -> list[_Evidence]:
    """All that were judged together, in the order in which they were."""
    names = [one.begin.name for one in evidence]
    judged = evidence[0].begin.judged if evidence else None
    expected = judged.names if judged else ()
    if any(one.begin.judged != judged for one in evidence) or sorted(names) != sorted(expected):
        raise UserError(
            f"replay: expected the transcripts of all that were judged together ({', '.join(expected)}), got "
            f"{', '.join(names) or 'none'}; Holm's correction needs them all",
            argument="replay",
        )
    ordered = [evidence[names.index(name)] for name in expected]
    if all(one.stopped for one in ordered):
        said = f"{ordered[0].begin.name} was not fully queried: {ordered[0].stopped}" if ordered else "none was named"
        raise UserError(f"replay: expected the transcript of a finished verification, {said}", argument="replay")
    return ordered


def output_form(kit: Kit, begin: Begin) -> OutputFormat:
    """How the responses in a transcript are to be read."""
    return OutputFormat(begin.output, kit.class_names, begin.classes)


def required_images(kit: Kit, begin: Begin) -> Tensor:
    """(W,) int64: what a transcript that begins so queries, settled before the first response."""
    if kit.churn is not None and not 0 <= (begin.point_set or 0) < kit.churn.n_sets:
        raise UserError(
            f"transcript of {begin.name}: expected one of the {kit.churn.n_sets} sets of the kit's churn points, got "
            f"{begin.point_set}; take a transcript of this kit"
        )
    if kit.exact_claims and not begin.exact:
        raise UserError(
            f"transcript of {begin.name}: expected answers to the exact test, which makes the claim of this kit, got "
            "none; take a transcript of this kit"
        )
    settled = begin.max_queries, begin.point_set or 0, bool(begin.exact)
    return kit.required_images(output_form(kit, begin).format, *settled)


def made_elsewhere(cases: Sequence[JudgedSuspect]) -> str:
    """A line where a suspect was queried by another version than this one, which judges; else empty.

    Older transcripts do not say who made them.
    """
    for case in cases:
        made = case.begin.made_by or MADE_BY
        if made != MADE_BY:
            then, now = (", ".join(f"{name} {version}" for name, version in by.items()) for by in (made, MADE_BY))
            return f"{case.verdict.name} was queried by {then}; {now} judges here: last digits may differ"
    return ""
