"""Random deaths: small evaluations and enrolments on hosts made on this machine (network namespaces; Linux, root). In
each one thing dies at a random moment: a worker host, the driver, the central actor, or the S3 server for ten seconds.
What comes out must equal, bit for bit, that of one undisturbed process, and nothing may be made again but what the
dead was at work on.

    sudo $(which python) jobs/hosts.py --out deaths.json                     # 20 evaluations, 5 enrolments
    sudo $(which python) jobs/hosts.py --evaluations 1 --enrolments 0 --seed 7    # the evaluation of seed 7 again

Every host has an address of its own and one declared GPU; artifacts go to an S3-compatible server on a host of its own
(pip install 'uapfp_dist[test]'), so that the hosts share no storage. A killed driver's job is submitted again. Heavy.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from faults.chance import draw_fault
from faults.cluster import VARIABLES, Cluster
from faults.deaths import JOB_SECONDS, Record, Run
from faults.network import ROOT, network
from faults.work import Kind, Output, command, read_output
from mlflow import MlflowClient

from uapfp_dist.command import main
from uapfp_dist.serialization import to_json

SEEDS_APART = 1000
"""Added to the seed of a run that had ended before its death came, for another one in its place."""


@dataclass(frozen=True)
class Deaths:
    """Kill at random."""

    evaluations: int = 20
    """Runs of an evaluation, each with one death."""
    enrolments: int = 5
    """Runs of an enrolment."""
    seed: int = 0
    """Of the first run of each kind; the next ones have the next numbers."""
    out: Path | None = None
    """File for the result."""
    keep: Path | None = None
    """Keep the logs in this folder."""


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    system: str
    processor: str
    cores: int
    started: str


@dataclass(frozen=True)
class Result:
    """All runs."""

    machine: Machine
    survived: int
    of: int
    undisturbed: tuple[Record, ...]
    """On the same cluster, without a death: nothing is made again there, and it shows how long a run takes."""
    runs: tuple[Record, ...]


def alone(kind: Kind, folder: Path) -> Output:
    """What comes out of one undisturbed process without Ray."""
    folder.mkdir()
    line = [sys.executable, *command(kind, folder, str(folder / "storage")), "--workers", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        subprocess.run(line, cwd=ROOT, env=env, stdout=log, stderr=log, check=True, timeout=JOB_SECONDS)
    return read_output(kind, folder)


def disturbed(cluster: Cluster, folder: Path, kind: Kind, seed: int, reference: Output) -> Record:
    """A run with the death of a seed; where that came too late, with the death of another seed."""
    while True:
        fault = draw_fault(seed, kind, reference.models)
        print(f"{kind} {seed}: {fault}", flush=True)
        run = Run(cluster, folder / f"{kind}-{seed}", kind, folder / "empty.db")
        death = run.disturb(fault)
        record = run.record(seed, fault, death, reference)
        print(f"{kind} {seed}: {verdict_line(record)}", flush=True)
        if death is not None or not record.survived:
            return record
        seed += SEEDS_APART


def verdict_line(record: Record) -> str:
    """A run in a line."""
    found = record.count
    words = [
        "survived" if record.survived else "NOT SURVIVED",
        f"{record.moment} s after the submission, {record.stored} artifacts stored",
        f"{found.in_flight} in flight, {found.made_again} made again, {found.stored_again} stored again",
        f"recovered in {record.recovery_seconds} s, {record.seconds} s in all",
    ]
    if not record.verdicts_equal:
        words.append(f"NOT as undisturbed: {', '.join(record.differences)} {record.error}")
    if found.beyond:
        words.append(f"beyond: {', '.join(found.beyond)}")
    return "; ".join(words)


def run_all(chosen: Deaths, folder: Path) -> Result:
    """The references, the undisturbed runs, and then the deaths."""
    MlflowClient(f"sqlite:///{folder}/empty.db").search_experiments()  # makes it
    numbers: dict[Kind, int] = {"evaluation": chosen.evaluations, "enrolment": chosen.enrolments}
    kinds = [kind for kind, n in numbers.items() if n]
    machine = Machine(platform.system(), processor(), os.cpu_count() or 0, time.strftime("%Y-%m-%d %H:%M"))
    references = {kind: alone(kind, folder / f"{kind}-alone") for kind in kinds}
    undisturbed, runs = [], []
    with network(folder, VARIABLES) as hosts:
        cluster = Cluster(hosts, folder)
        for kind in kinds:
            run = Run(cluster, folder / f"{kind}-undisturbed", kind, folder / "empty.db")
            undisturbed.append(run.record(None, None, None, references[kind]))
            print(f"{kind}, undisturbed: {verdict_line(undisturbed[-1])}", flush=True)
        for kind in kinds:
            for i in range(numbers[kind]):
                runs.append(disturbed(cluster, folder, kind, chosen.seed + i, references[kind]))
                survived = sum(record.survived for record in runs)
                result = Result(machine, survived, len(runs), tuple(undisturbed), tuple(runs))
                if chosen.out is not None:  # as it goes: it takes long
                    chosen.out.write_text(json.dumps(to_json(result), indent=1) + "\n")
    return result


def processor() -> str:
    """The model of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def job() -> None:
    """Run them, and say how many survived."""
    chosen = tyro.cli(Deaths, description=__doc__)
    with tempfile.TemporaryDirectory(prefix="hosts", ignore_cleanup_errors=True) as temporary:
        try:
            result = run_all(chosen, Path(temporary))
        finally:
            if chosen.keep is not None:
                ignored = shutil.ignore_patterns("runtime_resources", "sockets", "storage", "*.db")
                shutil.copytree(temporary, chosen.keep, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    print(f"{result.survived} of {result.of} deaths were survived: as undisturbed, and nothing made again beyond them")
    if result.survived < result.of:
        raise SystemExit(1)


if __name__ == "__main__":
    main(job)
