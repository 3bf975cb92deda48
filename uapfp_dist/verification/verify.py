"""From a kit and suspects to a verdict on each: query them, keep every response, judge by the transcripts alone.

The verdict is a function of the kit, the transcripts and the looks that the kit's register held before it: anybody who
has all three comes to the same one, bit for bit, whatever was looked at since. Whoever has no register corrects for all
suspects that the kit was enrolled for, as if nothing had been found before.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.output_format import OutputFormat, load_classes
from uapfp_dist.suspects.registry import Opener, open_suspect
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit_suspect import open_for
from uapfp_dist.verification.looks import (
    check_number,
    choose_point_sets,
    other_looks,
    release_begun,
    stored_begin,
    write_results,
)
from uapfp_dist.verification.querying.config import QueryConfig, check_query_config
from uapfp_dist.verification.querying.records import Judged
from uapfp_dist.verification.querying.transcript_files import (
    file_name,
    folder_marker,
    lock_folder,
    make_folder,
    transcript_path,
)
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.register_agreement import check_verdict_file
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.suspect_task import Interrupted, QueryTask

Task = Callable[[SuspectConfig], Interrupted | None]
"""Queries one suspect; says what stopped it."""
MapTasks = Callable[[Task, Sequence[SuspectConfig]], list[Interrupted | None]]
"""Performs a task for every suspect, somewhere."""


def verify(
    kit: Kit,
    suspects: Sequence[SuspectConfig],
    out: Path,
    query: QueryConfig | None = None,
    alpha: float | None = None,
    map_tasks: MapTasks | None = None,
    opener: Opener = open_suspect,
    register: Register | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> list[JudgedSuspect]:
    """Query every suspect and judge them together.

    Of several, those that were fully queried get their verdict though another one was not: that one enters Holm's
    correction with p = 1, so that the others are judged as strictly as they would be with its responses. Calling again
    queries the rest of it, and judges all of them again; a register keeps the first verdict on the others.

    Args:
        kit: what to query and how to judge.
        suspects: with names of their own.
        out: folder of the transcripts; calling again with the same one resumes.
        query: at what pace, within what limits; for each suspect.
        alpha: tolerated rate of false accusation over all of them; None: the kit's.
        map_tasks: where suspects are queried; None: a thread each, in this process.
        opener: makes something that can be queried of a config.
        register: of a kit with churn points (of others it is passed over): all suspects ever tested with it
            count; None: it is not kept.
        on_progress: of a single suspect in this process: takes the number of images that are answered, and of those
            that must be.

    Raises:
        UserError: bad input, more suspects than the kit can decide, a register that lacks what the folder rests on,
            another verification with it in that folder (all before anything is sent), or none that could be fully
            queried; what was answered is kept.
    """
    query = query or QueryConfig()
    register = None if kit.churn is None else register
    alpha = kit.alpha if alpha is None else alpha
    _check(kit, suspects, query, alpha, opener)
    check_number(kit, alpha, [transcript_path(out, config.display_name) for config in suspects], register)
    names = [config.display_name for config in suspects]
    make_folder(out, kit, names)
    # Another command in the folder would give back what this one has reserved.
    alone = nullcontext() if register is None else lock_folder(out)
    with alone, folder_marker(out) as marker:
        if register is not None:
            check_verdict_file(kit, register, out)
        task = QueryTask(kit, marker, query, Judged(tuple(names), alpha), opener, on_progress=on_progress)
        paths = [task.transcript_path(config) for config in suspects]
        try:
            if kit.churn is not None:
                begins = map(task.begin, suspects)
                chosen = choose_point_sets(kit, register, list(zip(suspects, begins, paths, strict=True)))
                task = replace(task, point_sets=chosen)
            stopped = (map_tasks or _in_threads)(task, suspects)
        finally:
            if register is not None:
                release_begun(kit, register, paths)
        stopped = [task.note_lost(config, one) for config, one in zip(suspects, stopped, strict=True)]
        _require_one(names, stopped)
        looks = other_looks(kit, register, [begin for path in paths if (begin := stored_begin(path))])
        cases = replay(kit, paths, looks)
        if register is not None:
            write_results(register, cases, {config.display_name: operator_of(config) for config in suspects})
        return cases


def _check(kit: Kit, suspects: Sequence[SuspectConfig], query: QueryConfig, alpha: float, opener: Opener) -> None:
    """Whatever is wrong is reported before anything is sent to anybody."""
    check_query_config(query)
    names = [config.display_name for config in suspects]
    if not suspects or len({file_name(name) for name in names}) < len(names):
        raise UserError(
            f"suspects: expected one or more with different names, got {', '.join(names) or 'none'}; name them",
            argument="suspects",
        )
    if not 0.0 < alpha < 1.0:
        raise UserError(f"alpha: expected a rate between 0 and 1, got {alpha:g} (nothing was sent)", argument="alpha")
    for config in suspects:
        form = OutputFormat(config.output, kit.class_names, load_classes(config.classes))
        kit.required_images(form.format, query.max_queries, exact=query.exact or kit.exact_claims)
        open_for(kit, config, opener)


def _require_one(names: Sequence[str], stopped: Sequence[Interrupted | None]) -> None:
    """At least one suspect was fully queried, and the transcripts of the others say why they were not."""
    failed = [(name, one) for name, one in zip(names, stopped, strict=True) if one]
    if len(failed) == len(names) or not all(one.noted for _, one in failed):
        name, first = min(failed, key=lambda entry: entry[1].noted)
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        in_file = {item.name for item in fields(SuspectConfig)} if len(names) > 1 else set()
        raise UserError(
            f"suspect {name}: {first.why.removeprefix('suspect: ')}{more}",
            argument="suspects" if first.argument in in_file else first.argument,
            options=[words for words in first.options if words.partition(" ")[0] not in in_file],
        )


def _in_threads(task: Task, suspects: Sequence[SuspectConfig]) -> list[Interrupted | None]:
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
