"""One run with one death: what dies, how the run goes on, and what is recorded of it."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from faults.chance import Fault, Victim
from faults.cluster import Cluster
from faults.counting import Count, Stored, count, in_flight, recovery_seconds, tasks_among
from faults.network import kill, wait_until
from faults.work import SCRIPTS, Kind, Output, differences, read_output

JOB_SECONDS = 420.0
GONE_SECONDS = 10.0
"""For which the object store cannot be reached."""
LAST_EVENTS_SECONDS = 1.0
"""Until Ray has recorded all that ended."""
MOMENT_SECONDS = 240.0
"""In which the moment of the death comes."""


@dataclass(frozen=True)
class Death:
    """What died, and when."""

    victim: Victim
    at: float
    """When it was killed, in seconds since 1970."""
    gone: float
    """When its last process had ended."""
    what: str
    """Which of its like, in words."""
    node: str | None = None
    """Ray's id of a lost host."""


@dataclass(frozen=True)
class Record:
    """A run, as it is reported."""

    kind: Kind
    seed: int | None
    """None: of a run without a death."""
    survived: bool
    """It ended with the verdicts of the undisturbed run, and nothing was made again beyond what was in flight."""
    fault: Fault | None
    moment: float | None
    """Seconds from the submission to the death."""
    stored: int
    """Artifacts of workers that were stored by then."""
    what: str
    recovery_seconds: float | None
    """From the death until all that was in flight is stored; where nothing was, until the next artifact is."""
    seconds: float
    """Of the whole run."""
    load: float
    """Of the machine at its end: processes that wanted a core, mean over a minute."""
    verdicts_equal: bool
    differences: tuple[str, ...]
    count: Count
    error: str = ""


class Run:
    """One run on a cluster.

    Args:
        cluster: with two workers.
        folder: a new one, of the output; its name is that of the storage.
        kind: what is run.
        database: an empty one of MLflow, whose creation takes long.
    """

    def __init__(self, cluster: Cluster, folder: Path, kind: Kind, database: Path) -> None:
        folder.mkdir()
        shutil.copy(database, folder / "mlflow.db")
        self._cluster, self._folder, self._kind = cluster, folder, kind
        self._submissions: list[str] = []
        self._began, self._process = time.time(), self._submit()

    def _submit(self) -> "Popen[bytes]":
        self._submissions.append(f"{self._folder.name}-{len(self._submissions) + 1}")
        return self._cluster.submit(self._submissions[-1], self._kind, self._folder)

    def _is_over(self) -> bool:
        return self._process.poll() is not None

    def _stored(self) -> list[Stored]:
        return self._cluster.stored(self._folder.name)

    def disturb(self, fault: Fault) -> Death | None:
        """Wait for the moment, kill, and bring back what comes back; None where the job had ended before."""

        def due() -> bool:
            n_models = sum(one.spec.startswith("model/") for one in self._stored())
            return n_models >= fault.after or self._is_over()

        wait_until(due, MOMENT_SECONDS, f"{fault.after} models", every=0.1)
        since = self._began if fault.after == 0 else time.time()
        time.sleep(max(0.0, since + fault.delay - time.time()))
        if self._is_over():
            return None
        kills: dict[Victim, Callable[[Fault], Death | None]] = {
            "worker host": self._worker_host,
            "driver": self._driver,
            "central actor": self._central_actor,
            "S3 server": self._s3_server,
        }
        return kills[fault.victim](fault)

    def _worker_host(self, fault: Fault) -> Death:
        cluster = self._cluster
        host = cluster.workers.pop(int(fault.which * len(cluster.workers)))
        node, at = cluster.node(host), time.time()
        if fault.silent:
            cluster.hosts.plug(host, False)
        n = cluster.hosts.kill(host)
        death = Death("worker host", at, time.time(), f"{host}, {n} processes", node)
        time.sleep(fault.joins_after)
        cluster.add_worker()
        return death

    def _driver(self, fault: Fault) -> Death | None:
        return self._one_of(lambda: self._cluster.drivers(SCRIPTS[self._kind]), fault, "driver", all_of_them=True)

    def _central_actor(self, fault: Fault) -> Death | None:
        return self._one_of(self._cluster.central_actors, fault, "central actor", all_of_them=False)

    def _one_of(
        self, find: Callable[[], dict[int, str]], fault: Fault, victim: Victim, all_of_them: bool
    ) -> Death | None:
        """Kill it as soon as it is there: a job that starts may not have one yet."""
        wait_until(lambda: find() or self._is_over(), MOMENT_SECONDS, victim, every=0.1)
        found = sorted(find().items())
        if not found:
            return None
        chosen = found if all_of_them else [found[int(fault.which * len(found))]]
        at = time.time()
        n = kill(dict(chosen))
        return Death(victim, at, time.time(), f"{n} processes")

    def _s3_server(self, fault: Fault) -> Death:
        cluster, at = self._cluster, time.time()
        if fault.silent:
            cluster.hosts.plug(cluster.store, False)
            time.sleep(GONE_SECONDS)
            cluster.hosts.plug(cluster.store, True)
        else:
            cluster.kill_front()
            time.sleep(GONE_SECONDS)
            cluster.start_front()
        return Death("S3 server", at, at, "silent" if fault.silent else "refuses connections")

    def end(self, death: Death | None) -> Output:
        """What comes out at the end; a killed driver is submitted again, as a person would.

        Raises:
            TimeoutError: it does not end.
            OSError: it failed.
        """
        wait_until(self._is_over, JOB_SECONDS, "the job to end")
        if death is not None and death.victim == "driver":
            self._process = self._submit()
            wait_until(self._is_over, JOB_SECONDS, "the second job to end")
        if self._process.returncode:
            raise OSError(f"expected the job to succeed, it ended with {self._process.returncode}")
        return read_output(self._kind, self._folder)

    def record(self, seed: int | None, fault: Fault | None, death: Death | None, reference: Output) -> Record:
        """Wait for the end, compare and count; an error is recorded."""
        error, different = "", ["no output"]
        try:
            different = differences(self.end(death), reference)
        except (TimeoutError, OSError) as failure:
            error = str(failure)
        seconds = time.time() - self._began
        time.sleep(LAST_EVENTS_SECONDS)
        attempts, stored = self._cluster.attempts(self._submissions), self._stored()
        lost: set[str] = set()
        if death is not None and death.victim != "central actor":
            lost = in_flight(attempts, death.at, death.gone, death.node)
        counted = count(attempts, stored, lost)
        return Record(
            self._kind,
            seed,
            survived=not different and not counted.beyond,
            fault=fault,
            moment=None if death is None else round(death.at - self._began, 1),
            stored=0 if death is None else len(tasks_among(one.spec for one in stored if one.at <= death.at)),
            what="" if death is None else death.what,
            recovery_seconds=None if death is None else recovery_seconds(stored, lost, death.at),
            seconds=round(seconds, 1),
            load=round(os.getloadavg()[0], 1),
            verdicts_equal=not different,
            differences=tuple(different),
            count=counted,
            error=error,
        )
