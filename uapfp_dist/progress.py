"""Stages, counts, ETA: one line that rewrites itself on a terminal, a line every few seconds in a log file."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from tqdm import tqdm

from uapfp_dist.specs import Spec
from uapfp_dist.types import Failed, Outcome

LOG_SECONDS = 10.0
TERMINAL_SECONDS = 0.5


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
    """Counts outcomes by stage and says how things stand."""

    workers: int
    out: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._begun = time.monotonic()
        self._last = 0.0
        self._terminal = self.out.isatty()

    def expect(self, specs: Iterable[Spec]) -> None:
        """What is to come."""
        for spec in specs:
            self._stages.setdefault(spec.stage, _Stage()).total += 1

    def observe(self, outcome: Outcome) -> None:
        """Count one outcome; a failure is told at once, with its cause."""
        stage, now = self._stages[outcome.spec.stage], time.monotonic()
        if isinstance(outcome, Failed):
            stage.failed += 1
            if not outcome.lost:
                self.say(f"FAILED {outcome.spec.kind} {outcome.spec.id}: {outcome.error}")
        elif outcome.reused:
            stage.reused += 1
        else:
            stage.done += 1
            stage.busy += outcome.seconds
            begun = now - outcome.seconds
            stage.started = begun if stage.started is None else min(stage.started, begun)
            stage.ended = now
        self.tick()

    def tick(self) -> None:
        """Show how things stand, if it is time."""
        now = time.monotonic()
        if now - self._last < (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._last = now
        self._show("  ".join(filter(None, (self._line(name) for name in self._stages))))

    def step(self, stage: str, done: int, total: int) -> None:
        """Progress of a stage that is not made of specs."""
        entry = self._stages.setdefault(stage, _Stage(total=total, started=time.monotonic()))
        entry.done = done
        if done < total:
            self.tick()

    def finish(self, stage: str) -> None:
        """A stage that is not made of specs has ended."""
        self._stages[stage].ended = time.monotonic()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.out.write(("\r\x1b[K" if self._terminal else "") + text + "\n")
        self.out.flush()

    def _line(self, name: str) -> str:
        stage = self._stages[name]
        if stage.settled == stage.total and name != self._current():
            return ""
        text = f"{name} {stage.settled}/{stage.total}"
        if stage.failed:
            text += f" ({stage.failed} failed)"
        if stage.done and stage.started is not None and stage.settled < stage.total:
            left = (time.monotonic() - stage.started) / stage.done * (stage.total - stage.settled)
            text += f" ETA {tqdm.format_interval(left)}"
        return text

    def _current(self) -> str:
        open_stages = [name for name, stage in self._stages.items() if stage.settled < stage.total]
        return open_stages[0] if open_stages else next(reversed(self._stages), "")

    def _show(self, text: str) -> None:
        elapsed = tqdm.format_interval(time.monotonic() - self._begun)
        line = f"[{elapsed}] {text}"
        self.out.write(f"\r\x1b[K{line[:150]}" if self._terminal else f"{line}\n")
        self.out.flush()

    @property
    def failed(self) -> int:
        """Models that failed or were lost."""
        return self._stages["zoo"].failed if "zoo" in self._stages else 0

    def counts(self) -> dict[str, int]:
        """Models trained, reused and failed."""
        zoo = self._stages.get("zoo", _Stage())
        return {"trained": zoo.done, "reused": zoo.reused, "failed": zoo.failed}

    def seconds(self) -> dict[str, float]:
        """Stage to wall seconds from the start of its first to the end of its last spec (stages overlap)."""
        return {
            name: round(stage.ended - stage.started, 2) if stage.started and stage.ended else 0.0
            for name, stage in self._stages.items()
        }

    def busy(self) -> float | None:
        """Share of the workers' time between first and last spec that went into specs; None if none was performed."""
        spans = [s for s in self._stages.values() if s.started and s.ended and s.busy]
        if not spans:
            return None
        wall = max(s.ended or 0.0 for s in spans) - min(s.started or 0.0 for s in spans)
        return sum(s.busy for s in spans) / (wall * max(1, self.workers))
