"""Run specs as soon as what they need is there; outcomes come in the order of completion."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from uapfp_dist.runtime import Pool
from uapfp_dist.specs import Spec
from uapfp_dist.types import Done, Failed, Outcome

POLL_SECONDS = 1.0


def execute(
    specs: Iterable[Spec], pool: Pool, stored: Callable[[Spec], bool], tick: Callable[[], None] = lambda: None
) -> Iterator[Outcome]:
    """Yield the outcome of every spec in `specs`, each once.

    What is in the store already is yielded first as reused. A spec whose need failed is yielded as lost. Specs that
    free others (models before answers) start first, in the order given.

    Args:
        specs: each after what it needs.
        pool: performs them.
        stored: tells whether a spec's artifact is there and whole.
        tick: called at least once a second while work is going on.
    """
    waiting: dict[str, set[str]] = {}
    dependants: dict[str, list[Spec]] = {}
    ready: deque[Spec] = deque()
    settled: set[str] = set()
    todo: list[Spec] = []
    for spec in {spec.id: spec for spec in specs}.values():
        if stored(spec):
            settled.add(spec.id)
            yield Done(spec, 0.0, "store", reused=True)
        else:
            todo.append(spec)
    for spec in todo:
        missing = {need.id for need in spec.needs} - settled
        for need in missing:
            dependants.setdefault(need, []).append(spec)
        if missing:
            waiting[spec.id] = missing
        else:
            ready.append(spec)
    running = 0
    while ready or running:
        while ready and pool.free > 0:
            pool.submit(ready.popleft())
            running += 1
        for outcome in pool.wait(POLL_SECONDS):
            running -= 1
            yield outcome
            yield from _settle(outcome, waiting, dependants, ready)
        tick()


def _settle(
    outcome: Outcome, waiting: dict[str, set[str]], dependants: dict[str, list[Spec]], ready: deque[Spec]
) -> Iterator[Outcome]:
    """Release the dependants of what is done; report those of what failed as lost."""
    for spec in dependants.pop(outcome.spec.id, ()):
        if spec.id not in waiting:
            continue
        if isinstance(outcome, Failed):
            del waiting[spec.id]
            lost = Failed(spec, f"needs {outcome.spec.kind} {outcome.spec.id}, which failed", lost=True)
            yield lost
            yield from _settle(lost, waiting, dependants, ready)
            continue
        waiting[spec.id].discard(outcome.spec.id)
        if not waiting[spec.id]:
            del waiting[spec.id]
            ready.append(spec)
