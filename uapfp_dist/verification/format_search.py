"""In which form a suspect takes its input: the images of the input check are sent in the usual ones."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat, load_classes
from uapfp_dist.suspects.suspect import InputMismatchError, RefusedInputError, Suspect
from uapfp_dist.suspects.usual_formats import usual_formats
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.verification.kit.input_check import N_FIRST, InputCheck, InputCheckResult
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit_suspect import open_for
from uapfp_dist.verification.querying.config import QueryConfig, check_query_config
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.querying.session import FirstResponses, query_all
from uapfp_dist.verification.querying.transcript import Transcript
from uapfp_dist.verification.querying.transcript_files import make_folder, transcript_path
from uapfp_dist.verification.suspect_task import suspect_record

FOLDER = "forms"
"""Of the transcripts, below that of the verification."""
TRIES = 2
"""Failed requests in a row after which a form is given up: servers answer a wrong one with errors of all kinds."""


MOST_IMAGES = 8
"""Times as many as are sent first: so many clean images are sent in forms that do about equally well."""
NEAR = 2
"""Labels by which a form may be behind the best and still be sent more images."""
SHARE_MISSED = 0.05
"""Of the labels, by which the best form may be behind every model of the kit: weaker models have a right form, too."""


@dataclass(frozen=True)
class TriedFormat:
    """What came of one form."""

    format: InputFormat
    queries: int
    """Images sent."""
    result: InputCheckResult | None
    """None: no responses."""
    why: str = ""
    """Why there are no responses, in one line."""

    @property
    def agreement(self) -> float:
        """Share of usual labels; -1 without responses. Confidences do not count: a wrong form may raise them."""
        return self.result.agreed / self.result.of if self.result else -1.0

    @property
    def fits(self) -> bool:
        """About as good as a model of the kit."""
        return self.result is not None and (
            self.result.passed or self.result.agreed >= self.result.least - SHARE_MISSED * self.result.of
        )


@dataclass(frozen=True)
class TriedFormats:
    """What came of all forms."""

    tried: tuple[TriedFormat, ...]
    """The best first; of those that do equally well, the most common."""
    untried: int
    """For which the budget was too small."""

    @property
    def equal(self) -> tuple[TriedFormat, ...]:
        """Others that these images do not tell from the first."""
        best = self.tried[0].result
        assert best is not None
        return tuple(
            one
            for one in self.tried[1:]
            if one.result and one.result.of == best.of and best.agreed - one.result.agreed <= 1
        )


def try_formats(
    kit: Kit,
    suspect: SuspectConfig,
    out: Path,
    query: QueryConfig | None = None,
    on_tried: Callable[[TriedFormat], None] = lambda tried: None,
) -> TriedFormats:
    """Try the usual forms of input until those of one layout have one that passes the kit's input check.

    Those that do about equally well are sent more clean images. No image is evidence for or against anybody. Every one
    sent counts as a query and is in a transcript; what was answered is not sent again by a second call.

    Args:
        kit: one that has an input check.
        suspect: as it was named; its form is tried first.
        out: folder of the verification; the transcripts come into a folder below.
        query: limits; `max_queries` and `total_timeout` are of all forms together.
        on_tried: is called with each form.

    Raises:
        UserError: a kit without an input check; a budget for not even one form; a suspect that cannot be reached, or
            refuses whatever it is sent.
    """
    if kit.input_check is None:
        raise UserError(
            "probe_forms: expected a kit with an input check, this one is of an earlier version; enroll again",
            argument="probe_forms",
        )
    query = query or QueryConfig()
    check_query_config(query)
    if query.max_queries is not None and query.max_queries < N_FIRST:
        raise UserError(
            f"max_queries: expected at least {N_FIRST} images, those of one form, got {query.max_queries}",
            argument="max_queries",
        )
    search = _Search(kit, kit.input_check, suspect, out / FOLDER, query)
    make_folder(search.out, kit, [suspect.display_name])
    tried, untried = _first_round(search, on_tried)
    if not any(one.result for one in tried):
        raise UserError(f"probe_forms: no form of input got responses: {tried[0].why}", argument="at")
    n, images = N_FIRST, len(kit.input_check.images)
    while len(near := _nearly_best(tried, n)) > 1 and n < min(images, MOST_IMAGES * N_FIRST):
        more = min(2 * n, images)
        if not search.can_afford(len(near) * (more - n)):
            break
        for one in near:
            tried[tried.index(one)] = search.attempt(one.format, (n, more), one)
        n = more
    # Only what did best was sent more; of what a label more or less does not tell apart, the most common comes first.
    most = max((one.result.agreed for one in tried if one.result and one.result.of == n), default=0)
    equal = [one for one in tried if one.result and one.result.of == n and one.result.agreed >= most - 1]
    others = sorted(
        (one for one in tried if one not in equal),
        key=lambda one: (-one.result.of, -one.agreement) if one.result else (0, 0.0),
    )
    return TriedFormats((*equal, *others), untried)


def _first_round(search: "_Search", on_tried: Callable[[TriedFormat], None]) -> tuple[list[TriedFormat], int]:
    """(what was tried, how many more there are for which the budget is too small)."""
    tried: list[TriedFormat] = []
    groups = list(usual_formats(search.suspect.input_format, search.kit.shape))
    for formats in groups:
        for input_format in formats:
            if not search.can_afford(N_FIRST):
                return tried, sum(map(len, groups)) - len(tried)
            tried.append(search.attempt(input_format, (0, N_FIRST)))
            on_tried(tried[-1])
        if any(one.fits for one in tried):
            break
    return tried, 0


def _nearly_best(tried: list[TriedFormat], n_images: int) -> list[TriedFormat]:
    """Of those that were sent so many images."""
    sent = {one: one.result.agreed for one in tried if one.result and one.result.of == n_images}
    return [one for one, agreed in sent.items() if agreed >= max(sent.values()) - NEAR and 2 * agreed > n_images]


def _of_the_form(error: UserError) -> bool:
    """Whether another form may help."""
    if isinstance(error, InputMismatchError) and error.argument == "at":
        return False
    known = (*(field.name for field in fields(InputFormat)), "tries", "total_timeout", "max_queries")
    return isinstance(error, RefusedInputError) or error.argument in known


@dataclass
class _Search:
    """Counts what all forms spend together."""

    kit: Kit
    check: InputCheck
    suspect: SuspectConfig
    out: Path
    query: QueryConfig
    spent: int = 0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.query.total_timeout

    def can_afford(self, n_images: int) -> bool:
        """Whether so many more may be sent."""
        left = n_images if self.query.max_queries is None else self.query.max_queries - self.spent
        return left >= n_images and time.monotonic() < self.deadline

    def attempt(self, given: InputFormat, part: tuple[int, int], before: TriedFormat | None = None) -> TriedFormat:
        """Send a part of the input check's images in this form, after those `before`."""
        config = replace(self.suspect, **vars(given))
        form = OutputFormat(config.output, self.kit.class_names, load_classes(config.classes))
        images = self.check.images[slice(*part)]
        try:
            suspect = open_for(self.kit, config)
        except UserError as error:
            if not _of_the_form(error):
                raise
            return TriedFormat(given, 0, None, str(error))
        ledger, why = self._query(suspect, config, form, images)
        self.spent += ledger.queries
        queries = ledger.queries + (before.queries if before else 0)
        if why:
            return TriedFormat(given, queries, before.result if before else None, why)
        result = self.check.result(form, ledger.responses, part, resized=bool(config.size))
        if before and before.result:
            result = self.check.joined(before.result, result, part[1])
        return TriedFormat(given, queries, result)

    def _query(self, suspect: Suspect, config: SuspectConfig, form: OutputFormat, images: Tensor) -> tuple[Ledger, str]:
        """What its transcript holds after that, and why that is not all."""
        record = suspect_record(config)
        begin = Begin(
            kit=self.kit.digest,
            suspect=record,
            judged=Judged((config.display_name,), self.kit.alpha),
            seed=self.query.seed,
            max_queries=len(images),
        )
        path = transcript_path(self.out, f"{config.display_name}-{content_id([record, images.tolist()])[:8]}")
        transcript, why = Transcript(path, begin), ""
        enough = 2 * TRIES * len(images)
        limits = replace(
            self.query,
            max_queries=enough if self.query.max_queries is None else min(enough, self.query.max_queries - self.spent),
            tries=min(self.query.tries, TRIES),
            total_timeout=max(self.deadline - time.monotonic(), 0.001),
        )
        first = FirstResponses(unreadable=form.parse_error)
        try:
            query_all(suspect, self.kit.images, images, transcript, limits, first=first, n_repeats=0)
        except UserError as error:
            why = str(error)
            transcript.stopped(why)
            nothing_sent = not Ledger(transcript.records).queries and not isinstance(error, RefusedInputError)
            if nothing_sent or not _of_the_form(error):
                raise
        finally:
            transcript.close()
        return Ledger(transcript.records), why
