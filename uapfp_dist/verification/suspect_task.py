"""Query one suspect into its transcript. An error is a value here: the other suspects are queried all the same."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.output_format import OutputFormat, load_classes
from uapfp_dist.suspects.registry import Opener
from uapfp_dist.verification.judging.response_checks import wrong_output
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit_suspect import open_for
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Judged, SuspectRecord
from uapfp_dist.verification.querying.session import FirstResponses, query_all
from uapfp_dist.verification.querying.transcript import Transcript
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import output_form, required_images

LONGEST_RESPONSE, LONGEST_PER_CLASS = 4096, 256
"""A response to one image may take the first and, for every class, the second, in characters of JSON: a name with its
confidence fits several times. Transcripts are kept in memory, and a suspect may send anything."""

ADVICE = (
    "it may expect another scale, mean and std, layout, channels or size (probe_forms tries forms), have another order "
    "of classes (classes FILE gives it), or be a weaker model (anyway goes on)"
)
"""Where a suspect fails the input check."""
OUTPUTS = tuple(f"output {output}" for output in ("probabilities", "logits", "label"))
"""As a message names them."""


@dataclass(frozen=True)
class Interrupted:
    """A suspect was not fully queried."""

    why: str
    """One line."""
    noted: bool = False
    """Its transcript says so and keeps what was answered: the others can be judged without it."""
    lost: bool = False
    """Its worker is gone, and could note nothing."""
    argument: str = ""
    """See `UserError`."""
    options: tuple[str, ...] = ()
    """See `UserError`."""

    @classmethod
    def by(cls, error: Exception, config: SuspectConfig, *, noted: bool = False) -> "Interrupted":
        """An error stopped it; an internal one, which must neither look like silence nor end the others, is logged."""
        if isinstance(error, UserError):
            return cls(str(error), noted, argument=error.argument, options=error.options)
        logging.getLogger(__name__).error("while querying %s", config.display_name, exc_info=error)
        return cls(f"{type(error).__name__}: {error}", noted)


@dataclass(frozen=True)
class QueryTask:
    """Queries any one of the suspects that are judged together."""

    kit: Kit
    marker: Path
    """A file in the folder of the transcripts."""
    query: QueryConfig
    judged: Judged
    opener: Opener
    point_sets: Mapping[str, int] = field(default_factory=dict)
    """Name of a suspect to the set of churn points that it is sent; empty for a kit without any."""
    on_progress: Callable[[int, int], object] | None = None
    """Takes the number of images that are answered, and of those that must be."""

    def __call__(self, config: SuspectConfig) -> Interrupted | None:
        """Query one suspect, fully unless something stops it."""
        try:
            if not self.marker.exists():
                raise UserError(
                    f"out: expected {self.marker.parent} to be one folder on all machines, it is another one here; "
                    "share it",
                    argument="out",
                )
            transcript = self._transcript(config)
            try:
                self._query(config, transcript)
            except Exception as error:
                stopped = Interrupted.by(error, config, noted=True)
                transcript.stopped(stopped.why)
                return stopped
            finally:
                transcript.close()
        except Exception as error:
            return Interrupted.by(error, config)
        return None

    def _query(self, config: SuspectConfig, transcript: Transcript) -> None:
        suspect = open_for(self.kit, config, self.opener)
        longest = LONGEST_RESPONSE + LONGEST_PER_CLASS * self.kit.n_classes
        required = required_images(self.kit, transcript.begin)
        form = output_form(self.kit, transcript.begin)
        first = first_responses(self.kit, form, anyway=self.query.anyway, resized=bool(config.size))
        shown = self.on_progress
        query_all(suspect, self.kit.images, required, transcript, self.query, longest, first, on_progress=shown)

    def begin(self, config: SuspectConfig) -> Begin:
        """How the transcript of a suspect begins."""
        return Begin(
            kit=self.kit.digest,
            suspect=suspect_record(config),
            judged=self.judged,
            seed=self.query.seed,
            max_queries=self.query.max_queries,
            point_set=self.point_sets.get(config.display_name),
            exact=self.query.exact or self.kit.exact_claims or None,
            fatal_is_one=True,
        )

    def transcript_path(self, config: SuspectConfig) -> Path:
        """Where it lies."""
        return transcript_path(self.marker.parent, config.display_name)

    def _transcript(self, config: SuspectConfig) -> Transcript:
        return Transcript(self.transcript_path(config), self.begin(config))

    def note_lost(self, config: SuspectConfig, stopped: Interrupted | None) -> Interrupted | None:
        """What stopped a suspect; in its transcript too, where its worker could not write it there."""
        if stopped is None or not stopped.lost:
            return stopped
        try:
            transcript = self._transcript(config)
        except UserError as error:
            return Interrupted(str(error))
        try:
            if transcript.finished:  # lost when all was done
                return None
            transcript.stopped(stopped.why)
        finally:
            transcript.close()
        return Interrupted(stopped.why, noted=True)


def suspect_record(config: SuspectConfig) -> SuspectRecord:
    """What a transcript says of the suspect."""
    return {"name": config.display_name, **describe_suspect(config), "classes": load_classes(config.classes)}


def first_responses(kit: Kit, form: OutputFormat, *, anyway: bool, resized: bool) -> FirstResponses:
    """What is looked at before a suspect is queried as far as the kit requires.

    Args:
        kit: one of version 1 has no images to check the input.
        form: how its responses are read.
        anyway: query on although none can be read, the input check fails, or they are not what `form` says.
        resized: images are sent at another size than the kit's.
    """
    check = kit.input_check
    unreadable = FirstResponses().unreadable if anyway else form.parse_error
    if check is None:
        return FirstResponses(unreadable=unreadable)

    def refusal(ledger: Ledger) -> UserError | None:
        if anyway:
            return None
        found = check.result(form, ledger.responses, resized=resized)  # of the first, whatever else a resumed run has
        if not found.passed:
            text = f"this does not look like the input this model expects: it {found.text}; {ADVICE}"
            return UserError(text, argument="probe_forms", options=("probe_forms", "classes FILE", "anyway"))
        first = check.first.tolist()
        if not ledger.asked <= set(first):  # the look is spent, another output comes too late
            return None
        if why := wrong_output(form, [ledger.responses[i][0] for i in first if i in ledger.responses]):
            text = f"its first {len(first)} answers are not what output {form.output} says ({why}); correct it and run"
            text += " it again: nothing counts yet (anyway goes on)"
            return UserError(text, argument="output", options=(*OUTPUTS, "anyway"))
        return None

    return FirstResponses(check.first, unreadable, refusal)
