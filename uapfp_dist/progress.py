"""Progress of a run: stages, ETA, tasks in work, utilisation, failures. A bar on a terminal, a few lines every few
seconds in a log file, and the same as numbers for a listener.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from tqdm import tqdm

from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Failed, Outcome

LOG_SECONDS = 10.0
TERMINAL_SECONDS = 0.5
NOTE_SECONDS = 30.0
"""Between two sets of numbers."""
SHOWN_WORKERS = 4
"""Of many workers, those that have been at their spec for longest."""
SHOWN_LINES = 4
"""Of a failure's traceback, the last ones."""

BAR = "{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt}{postfix}"
InWork = Sequence[tuple[str, Spec, float]]
"""(worker, its spec, seconds it has been at it)."""
Listener = Callable[[dict[str, float], int], None]
"""Takes numbers and the seconds since the start."""


@dataclass(frozen=True)
class WorkSummary:
    """The work behind a report; the names of its first fields are keys of the report."""

    models: dict[str, int]
    """Trained, reused and failed ones."""
    stage_seconds: dict[str, float]
    """Stage to its wall seconds."""
    workers_busy: float | None
    """Share of the workers' time that went into tasks; None: no task was performed."""
    notes: tuple[dict[str, float], ...] = ()
    """The state of the work, as it was noted, with its `seconds` from the start."""
    wall_seconds: float | None = None
    """From the start of the run until now; None: not known."""


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar without a thread that watches over it."""

    monitor_interval = 0


@dataclass
class _Stage:
    total: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    busy: float = 0.0
    started: float | None = None
    ended: float | None = None

    @property
    def settled(self) -> int:
        return self.done + self.reused + self.failed


@dataclass
class Progress:
    """Counts outcomes by stage and shows the state of the work."""

    workers: int
    """The most that were there at a time."""
    out: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._models = {"trained": 0, "reused": 0, "failed": 0}
        self._begun = time.monotonic()
        self._last = 0.0
        self._noted = self._begun
        self._terminal = self.out.isatty()
        self._bar: _Bar | None = None
        self._in_work: Callable[[], InWork] = lambda: ()
        self._listener: Listener = lambda numbers, seconds: None
        self._notes: list[dict[str, float]] = []

    def expect(self, specs: Iterable[Spec]) -> None:
        """Count the specs to come."""
        for spec in specs:
            self._stages.setdefault(spec.stage, _Stage()).total += 1

    def watch(self, pool: object, listener: Listener | None = None) -> None:
        """Show what each worker of `pool` does, where it knows; give `listener` the numbers twice a minute."""
        self._in_work = getattr(pool, "in_work", self._in_work)
        self._listener = listener or self._listener

    def observe(self, outcome: Outcome) -> None:
        """Count one outcome; a failure is reported at once, with its cause and the end of its traceback."""
        stage, now = self._stages[outcome.spec.stage], time.monotonic()
        if outcome.spec.kind == "model":
            self._models["failed" if isinstance(outcome, Failed) else "reused" if outcome.reused else "trained"] += 1
        if isinstance(outcome, Failed):
            stage.failed += 1
            if not outcome.skipped:
                self._report_failure(outcome)
        elif outcome.reused:
            stage.reused += 1
        else:
            stage.done += 1
            stage.busy += outcome.seconds
            begun = now - outcome.seconds
            stage.started = begun if stage.started is None else min(stage.started, begun)
            stage.ended = now
        self.refresh()
        self._end_bar_if_settled()

    def _report_failure(self, outcome: Failed) -> None:
        spec = outcome.spec
        self.say(f"FAILED {spec.kind} {spec.id} ({describe(spec)}): {outcome.error}")
        for line in outcome.details.splitlines()[-SHOWN_LINES:]:
            self.say(f"    {line}")

    def refresh(self) -> None:
        """Show the state of the work, and give the listener its numbers, if it is time."""
        now = time.monotonic()
        if now - self._noted >= NOTE_SECONDS:
            self.note()
        if now - self._last < (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._last = now
        in_work = list(self._in_work())
        if self._terminal:
            self._show_bar(in_work)
            return
        state = "  ".join([*filter(None, map(self._line, self._stages)), *self._load(in_work)])
        self.say(f"[{self._elapsed()}] {state}")
        self._show_workers(in_work)

    def note(self) -> None:
        """Give the listener the numbers now."""
        self._noted = time.monotonic()
        numbers, seconds = self.numbers(), round(self._noted - self._begun)
        self._notes.append({"seconds": float(seconds), **numbers})
        self._listener(numbers, seconds)

    def step(self, stage: str, done: int, total: int) -> None:
        """Progress of a stage that is not made of specs."""
        entry = self._stages.setdefault(stage, _Stage(total=total, started=time.monotonic()))
        entry.done = done
        if done < total:
            self.refresh()
        self._end_bar_if_settled()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.clear()
        self.out.write(f"{text}\n")
        self.out.flush()
        if self._bar is not None:
            self._bar.refresh()

    def _line(self, name: str) -> str:
        stage = self._stages[name]
        if stage.settled == stage.total and name != self._current():
            return ""
        text = f"{name} {stage.settled}/{stage.total}"
        if stage.failed:
            text += f" ({stage.failed} failed)"
        return text + self._eta(stage)

    def _eta(self, stage: _Stage) -> str:
        """How long it takes still, at the pace of what was done (and not found in the store)."""
        if not stage.done or stage.started is None or stage.settled >= stage.total:
            return ""
        left = (time.monotonic() - stage.started) / stage.done * (stage.total - stage.settled)
        return f" ETA {tqdm.format_interval(left)}"

    def _current(self) -> str:
        open_stages = [name for name, stage in self._stages.items() if stage.settled < stage.total]
        return open_stages[0] if open_stages else next(reversed(self._stages), "")

    def _load(self, in_work: InWork) -> list[str]:
        """Workers at work, how much of their time so far went into specs, and what waits for one."""
        if not in_work:
            return []
        share = self._utilisation(in_work)
        used = "" if share is None else f", {share:.0%} used"
        return [f"| {len(in_work)} of {self.workers} workers busy{used}, {self._waiting(in_work)} tasks wait"]

    def _waiting(self, in_work: InWork) -> int:
        return max(0, sum(stage.total - stage.settled for stage in self._stages.values()) - len(in_work))

    def _show_workers(self, in_work: InWork) -> None:
        longest = sorted(in_work, key=lambda entry: -entry[2])
        for worker, spec, seconds in longest[:SHOWN_WORKERS]:
            self.say(f"    {worker}: {describe(spec)}, for {seconds:.0f} s")
        if len(longest) > SHOWN_WORKERS:
            self.say(f"    and {len(longest) - SHOWN_WORKERS} more, for a shorter time")

    def _elapsed(self) -> str:
        return tqdm.format_interval(time.monotonic() - self._begun)

    def _show_bar(self, in_work: InWork) -> None:
        """The stage that is under way: how much of it is done, how long it takes still, what has taken longest."""
        if not (name := self._current()):
            return
        stage = self._stages[name]
        failed = f"{stage.failed} failed" if stage.failed else ""
        longest = max(in_work, key=lambda entry: entry[2], default=None)
        running = f"{len(in_work)} of {self.workers} workers busy: {describe(longest[1])}" if longest else ""
        postfix = ", ".join(filter(None, (self._eta(stage).strip(), failed, running)))
        if self._bar is None:
            self._bar = _Bar(file=self.out, bar_format=BAR, dynamic_ncols=True, leave=False)
        self._bar.desc, self._bar.n, self._bar.total = f"[{self._elapsed()}] {name}", stage.settled, stage.total
        self._bar.postfix = postfix
        self._bar.refresh()

    def _end_bar_if_settled(self) -> None:
        """What is said after the work has the line for itself."""
        if self._bar is not None and all(stage.settled >= stage.total for stage in self._stages.values()):
            self._bar.close()
            self._bar = None

    @property
    def failed(self) -> int:
        """Models that failed or were lost."""
        return self.counts()["failed"]

    def counts(self) -> dict[str, int]:
        """Models trained, reused and failed, modified ones and stopped extractions too."""
        return dict(self._models)

    def numbers(self) -> dict[str, float]:
        """The state of the work: `<stage>_done`, `_reused`, `_failed` and `_total`, workers, specs in work, waiting."""
        in_work = list(self._in_work())
        found: dict[str, float] = {}
        for name, stage in self._stages.items():
            for what in ("done", "reused", "failed", "total"):
                found[f"{name}_{what}"] = float(getattr(stage, what))
        found |= {"workers": float(self.workers), "in_work": float(len(in_work))}
        found["waiting"] = float(self._waiting(in_work))
        share = self._utilisation(in_work)
        return found if share is None else {**found, "utilisation": share}

    def seconds(self) -> dict[str, float]:
        """Stage to wall seconds from the start of its first to the end of its last spec (stages overlap)."""
        return {
            name: round(stage.ended - stage.started, 2) if stage.started and stage.ended else 0.0
            for name, stage in self._stages.items()
        }

    def summary(self) -> WorkSummary:
        """What a report says of the work before the judging."""
        wall = time.monotonic() - self._begun
        return WorkSummary(self.counts(), self.seconds(), self.busy(), tuple(self._notes), wall)

    def busy(self) -> float | None:
        """Share of the workers' time between first and last spec that went into specs; None if none was performed."""
        spans = [s for s in self._stages.values() if s.started and s.ended and s.busy]
        return self._share(spans, max((s.ended or 0.0 for s in spans), default=0.0))

    def _utilisation(self, in_work: InWork) -> float | None:
        """The same up to now, with what is in work."""
        spans = [s for s in self._stages.values() if s.started and s.busy]
        return self._share(spans, time.monotonic(), sum(seconds for _, _, seconds in in_work))

    def _share(self, spans: Sequence[_Stage], until: float, more: float = 0.0) -> float | None:
        if not spans:
            return None
        wall = until - min(s.started or 0.0 for s in spans)
        return (sum(s.busy for s in spans) + more) / (wall * max(1, self.workers))
