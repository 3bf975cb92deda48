"""Fault injection: an evaluation on hosts made on this machine (network namespaces; Linux, root), one of which is
killed. Its verdicts must equal, bit for bit, those of one undisturbed process.

    sudo $(which python) jobs/hosts.py             # one host is killed while the zoo is trained, another joins later
    sudo $(which python) jobs/hosts.py --kills 5   # five evaluations, each with a kill at a random time

Every host has its own address and one declared GPU; artifacts go to an S3-compatible server on the head node (pip
install 'uapfp_dist[test]'), so that the hosts share no disk.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import tyro

from uapfp_dist.command import main
from uapfp_dist.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SUBNET = "10.77.0"
BRIDGE = "uapfp-br"
HEAD = f"{SUBNET}.1"
S3 = f"http://{HEAD}:5555"
BUCKET = "uapfp"
HEALTH = {"period_ms": 1000, "failure_threshold": 3, "timeout_ms": 2000}
"""Settings of Ray's health checks: a lost host is detected within seconds."""
EVALUATION = (
    *("--preset", "digits", "--zoo.width", "6", "--zoo.n-piracy", "6", "--zoo.n-homologous", "8"),
    *("--zoo.n-same-data", "2", "--zoo.n-soft-piracy", "1", "--zoo.n-other-piracy", "1", "1"),
    *("--zoo.homologous-margin", "1.0", "--zoo.piracy-margin", "1.0"),
    *("--verdict.n-train", "3", "--verdict.n-calibrate", "3", "--verdict.n-resamples", "2", "--verdict.alpha", "0.3"),
    *("--verdict.methods", "uap", "weighted_errors", "--encoder.epochs", "10"),
)
"""Options of an evaluation: digits with few models, each with the preset's epochs."""
N_MODELS = 22
"""Models of `EVALUATION`."""
COMPARED = ("verdicts", "auc_detail", "victim", "uap")
"""Keys of a report whose values must be equal."""
AS_UNDISTURBED = "as undisturbed"
JOB_SECONDS = 900.0


@dataclass(frozen=True)
class Hosts:
    """Kill hosts during evaluations."""

    kills: int = 1
    """Evaluations, each with one kill."""
    seed: int = 0
    """Of the times of the kills and of the hosts."""
    keep: Path | None = None
    """Keep the logs in this folder."""


@dataclass(frozen=True)
class Result:
    """What is compared of an evaluation."""

    compared: dict[str, str]
    """Key of the report to its value as JSON."""
    models: dict[str, int]
    """Numbers of models that were trained, reused and failed."""
    n_stored: int = 0

    @staticmethod
    def read(path: Path) -> "Result":
        """From the file of a report."""
        report = json.loads(path.read_text())
        return Result({key: json.dumps(report[key]) for key in COMPARED}, report["models"])


class Network:
    """Hosts as network namespaces on one bridge."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: dict[str, str] = {}
        self._next = 1
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "UAPFP_"))},
            **{f"RAY_health_check_{key}": str(value) for key, value in HEALTH.items()},
            **{"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(folder)},
            **{"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"},
            **{"AWS_ENDPOINT_URL": S3, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        }

    def add(self) -> str:
        """A new host with an address that was never used before; returns its name."""
        name, address = f"uapfp{self._next}", f"{SUBNET}.{self._next}"
        if self._next == 1:
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("addr", "add", f"{SUBNET}.254/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
        self._next += 1
        ip("netns", "add", name)
        self._hosts[name] = address
        ip("link", "add", f"{name}-out", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"{name}-out", "master", BRIDGE, "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        """A process on a host; its output goes to a log of the host."""
        with (self._folder / f"{name}.log").open("ab") as log:
            line = ["ip", "netns", "exec", name, *command]
            return subprocess.Popen(line, cwd=ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True)

    def start_ray(self, name: str) -> None:
        """Start Ray on a host: the head node on the first host, a worker node on any other."""
        address = self._hosts[name]
        node = ["--head", "--port=6379", "--dashboard-host=0.0.0.0"] if address == HEAD else [f"--address={HEAD}:6379"]
        common = [f"--node-ip-address={address}", "--num-cpus=1", "--num-gpus=1", "--block", "--disable-usage-stats"]
        self.start(name, sys.executable, "-m", "ray.scripts.scripts", "start", *node, *common)

    def kill(self, name: str) -> int:
        """SIGKILL to all processes of a host, as at a power cut; returns their number."""
        pids = ip("netns", "pids", name).split()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        return len(pids)

    def remove(self, name: str) -> None:
        """Kill a host and delete its namespace."""
        self.kill(name)
        ip("link", "del", f"{name}-out")  # else it stays until the last process is reaped
        ip("netns", "del", name)
        del self._hosts[name]

    def close(self) -> None:
        """Remove all hosts and the bridge."""
        for name in list(self._hosts):
            self.remove(name)
        ip("link", "del", BRIDGE)


def ip(*arguments: str) -> str:
    """Run the command `ip`; returns its output."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise UserError(
            f"ip {' '.join(arguments)}: expected to make network namespaces, got {done.stderr.strip()!r}; run it "
            "as root on Linux"
        )
    return done.stdout


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Hosts that are removed at the end, whatever happens."""
    hosts = Network(folder)
    try:
        yield hosts
    finally:
        hosts.close()


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll twice a second.

    Raises:
        RuntimeError: the time is over.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"expected {what} within {seconds:g} s")
        time.sleep(0.5)


def undisturbed(folder: Path) -> Result:
    """The result of one process without Ray."""
    paths = ["--storage", str(folder / "serial"), "--report", str(folder / "serial.json"), "--workers", "0"]
    with (folder / "serial.log").open("wb") as log:
        line = [sys.executable, "jobs/full_eval.py", *EVALUATION, *paths]
        subprocess.run(line, cwd=ROOT, stdout=log, stderr=log, check=True, timeout=JOB_SECONDS)
    return Result.read(folder / "serial.json")


class Evaluation:
    """One evaluation as a submitted job.

    Args:
        hosts: the cluster.
        folder: of its report and its log.
        name: its folder in the object store.
    """

    def __init__(self, hosts: Network, folder: Path, name: str) -> None:
        self.report, self._prefix = folder / f"{name}.json", f"{BUCKET}/{name}"
        self._files = fsspec.filesystem("s3", endpoint_url=S3, key="none", secret="none", use_listings_cache=False)
        paths = ["--storage", f"s3://{self._prefix}", "--report", str(self.report)]
        paths += ["--mlflow-uri", f"sqlite:///{folder}/{name}.db"]
        job = ["--", "python", "jobs/full_eval.py", *EVALUATION, *paths]
        submit = ["job", "submit", "--address", f"http://{HEAD}:8265", "--working-dir", ".", *job]
        self.process = hosts.start("uapfp1", sys.executable, "-m", "ray.scripts.scripts", *submit)

    @property
    def n_models(self) -> int:
        """Number of stored models."""
        with suppress(FileNotFoundError):
            return len(self._files.ls(f"{self._prefix}/model", detail=False))
        return 0

    def wait(self) -> Result:
        """Wait for its end."""
        wait_until(lambda: self.process.poll() is not None, JOB_SECONDS, "the job to end")
        return replace(Result.read(self.report), n_stored=self.n_models)


def cluster(hosts: Network) -> list[str]:
    """A Ray cluster of a head node, with the object store, and two worker nodes; returns the names of the two."""
    head = hosts.add()
    hosts.start(head, sys.executable, "-m", "moto.server", "-H", HEAD, "-p", S3.rsplit(":", 1)[1])
    hosts.start_ray(head)
    wait_until(
        lambda: responds(f"http://{HEAD}:8265/api/jobs/") and responds(S3), 120.0, "the head and the object store"
    )
    fsspec.filesystem("s3", endpoint_url=S3, key="none", secret="none").mkdir(BUCKET)
    workers = [hosts.add(), hosts.add()]
    for worker in workers:
        hosts.start_ray(worker)
    return workers


def responds(url: str) -> bool:
    """Whether a server responds."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def evaluate_with_kill(hosts: Network, workers: list[str], folder: Path, name: str, rng: random.Random) -> Result:
    """An evaluation in which a worker node is killed at a random moment of the zoo stage, and another joins."""
    job = Evaluation(hosts, folder, name)
    kill_at = rng.randrange(1, N_MODELS - 4)
    wait_until(lambda: job.n_models >= kill_at or job.process.poll() is not None, JOB_SECONDS, f"{kill_at} models")
    killed = rng.choice(workers)
    lost = hosts.kill(killed)
    print(f"{name}: {killed} killed with {job.n_models} of {N_MODELS} models stored ({lost} processes)", flush=True)
    workers.remove(killed)
    time.sleep(rng.uniform(0.0, 10.0))
    workers.append(hosts.add())
    hosts.start_ray(workers[-1])
    result = job.wait()
    hosts.remove(killed)
    return result


def compare(result: Result, reference: Result) -> str:
    """In words, whether a result is that of the undisturbed process."""
    differences = [key for key in COMPARED if result.compared[key] != reference.compared[key]]
    if result.models != {"trained": N_MODELS, "reused": 0, "failed": 0} or result.n_stored != N_MODELS:
        differences.append(f"models {result.models}, {result.n_stored} stored")
    return f"NOT {AS_UNDISTURBED}: {', '.join(differences)}" if differences else AS_UNDISTURBED


def job() -> None:
    """Run the undisturbed process, then the evaluations with a kill, and compare them."""
    chosen = tyro.cli(Hosts, description=__doc__)
    rng = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory(prefix="hosts", ignore_cleanup_errors=True) as temporary:
        folder, equal = Path(temporary), 0
        reference = undisturbed(folder)
        try:
            with network(folder) as hosts:
                workers = cluster(hosts)
                for i in range(chosen.kills):
                    found = compare(evaluate_with_kill(hosts, workers, folder, f"run{i + 1}", rng), reference)
                    equal += found == AS_UNDISTURBED
                    print(f"run{i + 1}: {found}")
        finally:
            if chosen.keep is not None:
                ignored = shutil.ignore_patterns("runtime_resources", "sockets", "serial")
                shutil.copytree(folder, chosen.keep, dirs_exist_ok=True, ignore=ignored)
        print(f"{equal} of {chosen.kills} evaluations gave, bit for bit, the verdicts of the undisturbed one")
    if equal < chosen.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main(job)
