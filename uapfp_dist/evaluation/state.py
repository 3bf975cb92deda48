"""The state of evaluations, from what lies in their storage alone: finished, running somewhere else, or stopped."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fsspec

from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.storage.store import Store, TornArtifactError
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.outcomes import Failed

Written = dict[str, float | None]
"""Id of an artifact to when it was written; None: the storage does not say."""
SHOWN_FAILURES = 5
SHOWN_LINES = 2
"""Of each traceback."""


@dataclass(frozen=True)
class StoredSpec:
    """A spec of a stored plan."""

    id: str
    kind: str
    stage: str


@dataclass(frozen=True)
class StoredPlan:
    """What an evaluation consists of, as its storage keeps it."""

    preset: str
    seed: int
    data: str
    flags: str
    """Arguments of the command that resumes it."""
    specs: tuple[StoredSpec, ...]
    begun: float
    """Seconds since 1970, as all times here."""


@dataclass(frozen=True)
class StoredFailure:
    """Why a spec could not be done."""

    id: str
    kind: str
    words: str
    """The spec for people."""
    error: str
    details: str
    when: float


def store_plan(store: Store, plan: Plan, name: str, flags: str) -> None:
    """Store what an evaluation consists of, once, before its work begins: `evaluation_states` counts against it.

    Args:
        store: its storage.
        plan: the evaluation.
        name: its preset.
        flags: arguments of the command that resumes it.
    """
    if store.intact("plan", plan.id):
        return
    specs = tuple(StoredSpec(spec.id, spec.kind, spec.stage) for spec in plan.specs)
    store.put("plan", plan.id, {}, to_json(StoredPlan(name, plan.seed, plan.data.name, flags, specs, time.time())))


def store_failure(store: Store, failed: Failed) -> None:
    """Store why a spec could not be done; it counts until the spec's artifact is there."""
    if not failed.skipped:
        spec = failed.spec
        found = StoredFailure(spec.id, spec.kind, describe(spec), failed.error, failed.details, time.time())
        store.put("failure", spec.id, {}, to_json(found))


@dataclass(frozen=True)
class EvaluationState:
    """How one evaluation stands."""

    evaluation: str
    preset: str
    seed: int
    stages: Mapping[str, tuple[int, int]]
    """Stage to (done, total)."""
    failures: tuple[StoredFailure, ...]
    """Of specs that are not done."""
    last: float | None
    """When an artifact of it was last written, seconds since 1970; None: nothing is known."""
    report: bool
    flags: str
    """Arguments of the command that resumes it."""

    @property
    def missing(self) -> int:
        """Specs that are still to be done."""
        return sum(total - done for done, total in self.stages.values())


def evaluation_states(store: Store, say: Callable[[str], None]) -> list[EvaluationState]:
    """Every evaluation whose plan lies in `store`, the one last worked on last. Reads names and times, no models.

    Args:
        store: the artifacts.
        say: told of a plan that cannot be read, and is left out.
    """
    listed: dict[str, Written] = {}

    def files(kind: str) -> Written:
        if kind not in listed:
            listed[kind] = _files(store, kind)
        return listed[kind]

    found = []
    for key in files("plan"):
        try:
            plan = from_json(StoredPlan, store.get("plan", key).info)
        except (TornArtifactError, FileNotFoundError):
            say(f"an evaluation is not shown: its plan {key} is torn; the command that started it resumes it")
            continue
        found.append(_state(store, key, plan, files))
    return sorted(found, key=lambda state: state.last or 0.0)


def _state(store: Store, key: str, plan: StoredPlan, files: Callable[[str], Written]) -> EvaluationState:
    stages: dict[str, tuple[int, int]] = {}
    times, failures = [files("report").get(key)], []
    for spec in plan.specs:
        done, total = stages.get(spec.stage, (0, 0))
        stored = spec.id in files(spec.kind)
        stages[spec.stage] = (done + stored, total + 1)
        if stored:
            times.append(files(spec.kind)[spec.id])
        elif spec.id in files("failure") and (failure := _failure(store, spec.id)):
            failures.append(failure)
    last = max((t for t in times if t is not None), default=plan.begun)
    return EvaluationState(
        key, plan.preset, plan.seed, stages, tuple(failures), last, key in files("report"), plan.flags
    )


def _failure(store: Store, key: str) -> StoredFailure | None:
    """None where its file is torn or gone: the task is then to be done like one that was never tried."""
    try:
        return from_json(StoredFailure, {"id": key, **store.get("failure", key).info})
    except (TornArtifactError, FileNotFoundError):
        return None


def _files(store: Store, kind: str) -> Written:
    """Ids of the artifacts of a kind, and when each was written, where the storage tells."""
    system, _ = fsspec.core.url_to_fs(store.url)
    folder = store.path(kind, "").rsplit("/", 1)[0]
    try:
        entries = system.ls(folder, detail=True, refresh=True)
    except FileNotFoundError:
        return {}
    names = {entry["name"].rsplit("/", 1)[-1]: entry for entry in entries}
    suffix = ".safetensors"
    return {name.removesuffix(suffix): _written(entry) for name, entry in names.items() if name.endswith(suffix)}


def _written(entry: Mapping[str, Any]) -> float | None:
    for key in ("mtime", "LastModified", "updated", "last_modified"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return None


def state_lines(state: EvaluationState, command: str, now: float) -> list[str]:
    """A state as a person reads it.

    Args:
        state: how the evaluation stands.
        command: what resumes it.
        now: seconds since 1970.
    """
    stages = ", ".join(f"{stage} {done}/{total}" for stage, (done, total) in state.stages.items())
    age = "unknown" if state.last is None else f"{_duration(max(0.0, now - state.last))} ago"
    lines = [f"{state.preset}, seed {state.seed} ({state.evaluation}): {stages}; last activity {age}"]
    for failure in state.failures[:SHOWN_FAILURES]:
        when, what = _duration(max(0.0, now - failure.when)), f"{failure.kind} {failure.id}"
        lines.append(f"  failed {when} ago: {what} ({failure.words}): {failure.error}")
        lines += [f"      {line}" for line in failure.details.splitlines()[-SHOWN_LINES:]]
    if len(state.failures) > SHOWN_FAILURES:
        lines.append(f"  and {len(state.failures) - SHOWN_FAILURES} more failures")
    if state.report:
        without = f" without {state.missing} specs (see the report)" if state.missing else ""
        lines.append(f"  finished{without}; the same command shows the report again:")
    else:
        lines.append(f"  {state.missing} specs to do; if nothing works on it, this resumes:")
    return [*lines, f"    {command}"]


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
