"""Run tasks as soon as what they need is there; outcomes come in the order of completion."""

from collections.abc import Callable, Iterable, Iterator

from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome
from uapfp_dist.tasks.pool import Pool

POLL_SECONDS = 1.0


def dependency_order(specs: Iterable[Spec]) -> list[Spec]:
    """Each spec once, after what it needs; needs that are not listed (trajectories) are put in."""
    found: dict[str, Spec] = {}

    def visit(spec: Spec) -> None:
        if spec.id not in found:
            for need in spec.needs:
                visit(need)
            found[spec.id] = spec

    for spec in specs:
        visit(spec)
    return list(found.values())


def run_tasks(
    specs: Iterable[Spec], pool: Pool, stored: Callable[[Spec], bool], tick: Callable[[], None] = lambda: None
) -> Iterator[Outcome]:
    """Yield the outcome of every spec in `specs`, each once.

    What is in the store already is yielded first, as reused. A spec whose need failed is yielded as skipped. Specs that
    others wait for (models before responses) start first, in the order given.

    Args:
        specs: each after what it needs.
        pool: performs them.
        stored: tells whether a spec's artifact is there and whole.
        tick: called at least once a second while work is going on.

    Raises:
        ValueError: a spec needs what is not among `specs`.
    """
    waiting: dict[str, set[str]] = {}
    dependants: dict[str, list[Spec]] = {}
    finished: set[str] = set()
    todo: list[Spec] = []
    for spec in {spec.id: spec for spec in specs}.values():
        if stored(spec):
            finished.add(spec.id)
            yield Done(spec, 0.0, "store", reused=True)
        else:
            todo.append(spec)
    running, known = 0, {spec.id for spec in todo}
    for spec in todo:
        missing = {need.id for need in spec.needs} - finished
        if missing - known:
            raise ValueError(f"{spec.kind} {spec.id} needs {sorted(missing - known)}, which are not among the specs")
        for need in missing:
            dependants.setdefault(need, []).append(spec)
        if missing:
            waiting[spec.id] = missing
        else:
            pool.submit(spec)
            running += 1
    while running:
        for outcome in pool.wait(POLL_SECONDS):
            ready = _release(outcome, waiting, dependants)
            for spec in ready:
                pool.submit(spec)
            running += len(ready) - 1
            yield outcome
            yield from _skip(outcome, waiting, dependants)
        tick()


def _release(outcome: Outcome, waiting: dict[str, set[str]], dependants: dict[str, list[Spec]]) -> list[Spec]:
    """What has all it needs, now that `outcome` is there."""
    ready: list[Spec] = []
    if isinstance(outcome, Failed):
        return ready
    for spec in dependants.pop(outcome.spec.id, ()):
        if spec.id not in waiting:  # skipped already
            continue
        waiting[spec.id].discard(outcome.spec.id)
        if not waiting[spec.id]:
            del waiting[spec.id]
            ready.append(spec)
    return ready


def _skip(outcome: Outcome, waiting: dict[str, set[str]], dependants: dict[str, list[Spec]]) -> Iterator[Outcome]:
    """All that depends on what failed, each once."""
    if not isinstance(outcome, Failed):
        return
    for spec in dependants.pop(outcome.spec.id, ()):
        if waiting.pop(spec.id, None) is not None:
            why = f"needs {outcome.spec.kind} {outcome.spec.id}, which failed"
            skipped = Failed(spec, why, skipped=True, permanent=outcome.permanent)
            yield skipped
            yield from _skip(skipped, waiting, dependants)
