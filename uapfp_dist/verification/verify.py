"""From a kit and suspects to a verdict on each: ask, keep every answer, judge by the transcripts and by nothing else.

The verdict is a function of the kit and the transcripts. Who has both comes to the same one, bit for bit.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.output_format import OutputFormat, load_classes
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_rates import most_suspects
from uapfp_dist.verification.query_config import QueryConfig, check_query_config
from uapfp_dist.verification.querying import query_all
from uapfp_dist.verification.replay import JudgedSuspect, _form, _wanted, replay
from uapfp_dist.verification.transcript import Transcript
from uapfp_dist.verification.transcript_files import _mark, _settle_in, _slug, transcript_path

LONGEST_ANSWER, LONGEST_PER_CLASS = 4096, 256
"""An answer to one image may take the first and, for every class, the second, in characters of JSON: a name with its
confidence fits several times. Transcripts are kept in memory, and liars may answer."""


@dataclass(frozen=True)
class Interrupted:
    """A suspect was not asked to the end."""

    why: str
    """One line."""
    noted: bool = False
    """Its transcript says so and keeps what was answered: the others can be judged without it."""
    lost: bool = False
    """Whoever asked it is gone, and could note nothing."""


Task = Callable[[SuspectConfig], Interrupted | None]
"""Asks one suspect; says what stopped it."""


MapTasks = Callable[[Task, Sequence[SuspectConfig]], list[Interrupted | None]]
"""Performs a task for every suspect, somewhere."""


Opener = Callable[[SuspectConfig, tuple[int, int, int], int], Suspect]


def verify(
    kit: Kit,
    suspects: Sequence[SuspectConfig],
    out: Path,
    asking: QueryConfig | None = None,
    alpha: float | None = None,
    spread: MapTasks | None = None,
    opener: Opener = open_suspect,
) -> list[JudgedSuspect]:
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
    asking = asking or QueryConfig()
    check_query_config(asking)
    names = [config.display_name for config in suspects]
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
        kit.wanted(
            OutputFormat(config.output, kit.class_names, load_classes(config.classes)).format, asking.max_queries
        )
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


def _ask(
    kit: Kit,
    mark: Path,
    asking: QueryConfig,
    judged: dict[str, Any],
    opener: Opener,
    config: SuspectConfig,
) -> Interrupted | None:
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
            query_all(
                suspect, kit.images, _wanted(kit, begin), transcript, asking, longest, _form(kit, begin).parse_error
            )
        except Exception as error:
            why = _cause(error, config)
            transcript.stopped(why)
            return Interrupted(why, noted=True)
        finally:
            transcript.close()
    except Exception as error:
        return Interrupted(_cause(error, config))
    return None


def _transcript(kit: Kit, out: Path, asking: QueryConfig, judged: dict[str, Any], config: SuspectConfig) -> Transcript:
    begin = {
        "kit": kit.digest,
        "suspect": {"name": config.display_name, **describe_suspect(config), "classes": load_classes(config.classes)},
        "judged": judged,
        "seed": asking.seed,
        "max_queries": asking.max_queries,
    }
    return Transcript(transcript_path(out, config.display_name), begin)


def _note(
    kit: Kit, out: Path, asking: QueryConfig, judged: dict[str, Any], config: SuspectConfig, stopped: Interrupted
) -> Interrupted:
    """In its transcript, for who was lost while asking it."""
    try:
        transcript = _transcript(kit, out, asking, judged, config)
    except UserError as error:
        return Interrupted(str(error))
    try:
        transcript.stopped(stopped.why)
    finally:
        transcript.close()
    return Interrupted(stopped.why, noted=True)


def _cause(error: Exception, config: SuspectConfig) -> str:
    """In one line; a defect, which must neither look like silence nor end the others, is logged whole."""
    if isinstance(error, UserError):
        return str(error)
    logging.getLogger(__name__).error("while asking %s", config.display_name, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _threads(task: Task, suspects: Sequence[SuspectConfig]) -> list[Interrupted | None]:
    """A thread each; they die with the process, so that Ctrl-C ends it: transcripts are whole at any moment."""
    if len(suspects) == 1:
        return [task(suspects[0])]
    found: list[Interrupted | None] = [Interrupted("given up")] * len(suspects)

    def one(i: int) -> None:
        found[i] = task(suspects[i])

    threads = [Thread(target=one, args=(i,), daemon=True) for i in range(len(suspects))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
