"""All parts one after the other, each in a process of its own, which ends at its deadline whatever it does."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType

from uapfp_dist.benchmarks.gpu.notes import Notes, PartNotes, read_notes
from uapfp_dist.benchmarks.gpu.settings import Machine, Settings, machine
from uapfp_dist.serialization import to_json

GRACE_SECONDS = 4.0
"""Between the moment after which a part begins nothing more and its end."""

END_SECONDS = 5.0
"""For a part to end what it has started, before it is killed: a daemon leaves its group."""


@dataclass(frozen=True)
class Part:
    """One of the benchmark."""

    module: str
    """Has `planned(settings)`, the names of its measurements, and `measure(settings, notes)`."""
    share: float
    """Of the whole time; what a part leaves, the next ones have."""


_HERE = "uapfp_dist.benchmarks.gpu"
PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "agreement": Part(f"{_HERE}.agreement", 0.22),
        "switches": Part(f"{_HERE}.switches", 0.30),
        "zoo": Part(f"{_HERE}.zoo", 0.26),
        "processes": Part(f"{_HERE}.processes", 0.12),
        "rivals": Part(f"{_HERE}.rivals", 0.10),
    }
)


def _print(line: str) -> None:
    print(line, flush=True)


@dataclass(frozen=True)
class GpuBenchmark:
    """Everything that was found."""

    machine: Machine
    seconds: float
    parts: dict[str, PartNotes]


def run(
    settings: Settings,
    seconds: float,
    parts: Mapping[str, Part] = PARTS,
    *,
    apart: bool = True,
    say: Callable[[str], object] = _print,
) -> GpuBenchmark:
    """Measure; after each part all of it is in the file `gpu.json` of the folder.

    Args:
        settings: what, where.
        seconds: for all parts together.
        parts: which.
        apart: each in a process of its own; else in this one, which no deadline ends.
        say: takes lines.
    """
    out, began, found = Path(settings.out), time.monotonic(), dict[str, PartNotes]()
    here = machine(settings.torch_device)
    say(f"{here.card}, {here.cores} cores, torch {here.torch}; at most {seconds:.0f} s")
    due = began
    for name, part in parts.items():
        due += part.share * seconds
        path = out / f"{name}.json"
        path.unlink(missing_ok=True)
        say(f"{name}, until second {due - began:.0f}")
        if apart:
            ended = _in_process(name, part, settings, path, due)
        else:
            ended = ""
            _measure(part, settings, path, due, say)
        notes = read_notes(path)
        if ended:
            notes = replace(notes, failed=notes.failed | {"process": ended})
            say(f"  {ended}")
        if notes.not_reached:
            say(f"  not reached: {', '.join(notes.not_reached)}")
        found[name] = notes
        whole = GpuBenchmark(here, time.monotonic() - began, found)
        (out / "gpu.json").write_text(json.dumps(to_json(whole), indent=1))
    say(f"{time.monotonic() - began:.0f} s; everything is in {out / 'gpu.json'}")
    return whole


def _measure(part: Part, settings: Settings, path: Path, due: float, say: Callable[[str], object]) -> None:
    module = import_module(part.module)
    notes = Notes(path, module.planned(settings), due - GRACE_SECONDS, say)
    module.measure(settings, notes)


def _alone(part: Part, settings: Settings, path: Path, due: float) -> None:
    os.setsid()  # what it starts ends with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # by way of each `finally`
    _measure(part, settings, path, due, _print)


def _wait(process: BaseProcess, due: float) -> None:
    process.join(max(0.0, due - time.monotonic()))


def _in_process(name: str, part: Part, settings: Settings, path: Path, due: float) -> str:
    """How it ended, where that was not by itself."""
    # `time.monotonic` counts from the start of the machine: it is the same clock in every process
    process = multiprocessing.get_context("spawn").Process(target=_alone, args=(part, settings, path, due), name=name)
    process.start()
    _wait(process, due)
    late = process.is_alive()
    assert process.pid is not None
    if late:
        process.terminate()
        process.join(END_SECONDS)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.join()
    if late:
        return "was ended at its deadline"
    return f"ended with code {process.exitcode}" if process.exitcode else ""
