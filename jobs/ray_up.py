"""`ray up` with the on-premise variant of cluster.yaml on three machines made on this one (Linux, root, sshd, rsync):
an evaluation as a submitted job, `ray down`, and a check that nothing runs on. Then what may go wrong: a machine
without sshd, one with another Python, a head that dies.

    sudo $(which python) jobs/ray_up.py --other-python VENV/bin | tee jobs/results/ray_up.txt

Verdicts of the preset `digits` must equal, bit for bit, those of one process without Ray. All is typed on a fourth
machine, which reaches the others by ssh alone. AWS is not tried. Half an hour on 2 busy cores.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import tyro
from premises.cluster import WHY_NOT, Cluster
from premises.machine import ROOT, premises
from premises.terminal_log import TerminalLog, TypedCommand

from uapfp_dist.command import main
from uapfp_dist.errors import UserError

EVALUATION = "--preset digits"
"""Options of an evaluation: 72 models, and every other one its default."""
COMPARED = ("verdicts", "auc_detail", "victim", "uap")
"""Keys of a report whose values must be equal."""
SHOWN = r"^(digits|ray:|\[|Can this|\d+ models trained|full_eval|Report|.*Error|Traceback|[Jj]ob '?r|submit:)"
"""Lines of a job that the log shows."""
PROGRESS = 12
"""Lines of its progress that the log shows at most."""
JOB_SECONDS = 3600.0
EARLY = 30
"""Models that are stored when the head dies."""


@dataclass(frozen=True)
class RayUp:
    """Start a cluster and use it."""

    other_python: Path | None = None
    """Folder with the commands of another Python that has Ray; None: no machine has another one."""
    reference: Path | None = None
    """Report of the same evaluation with --workers 0, which is waited for at the end; None: it is run meanwhile."""
    keep: Path | None = None
    """Keep what was said and Ray's logs in this folder."""


@contextmanager
def undisturbed(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One process without Ray, beside all else; its report will be serial.json. It is killed at the end."""
    report, paths = folder / "serial.json", ["--storage", str(folder / "serial"), "--workers", "0"]
    with (folder / "serial.log").open("wb") as log:
        line = [sys.executable, "jobs/full_eval.py", *EVALUATION.split(), *paths, "--report", str(report)]
        process = subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def evaluation(name: str) -> str:
    """The command of a job, whose storage and report bear this name."""
    return f"python jobs/full_eval.py {EVALUATION} --storage /tmp/shared/{name} --report /tmp/shared/{name}.json"


def is_equal(report: Path, reference: Path) -> bool:
    """Whether a report has the values of another one."""
    found, expected = json.loads(report.read_text()), json.loads(reference.read_text())
    return all(json.dumps(found[key]) == json.dumps(expected[key]) for key in COMPARED)


def told(job: TypedCommand) -> list[str]:
    """What the log shows of a job: of its progress every so many lines, and the last."""
    lines = job.lines(SHOWN)
    progress = [line for line in lines if line.startswith("[")]
    kept = {*progress[:: max(1, -(-len(progress) // PROGRESS))], *progress[-1:]}
    return [line for line in lines if not line.startswith("[") or line in kept]


class Checks:
    """What must hold.

    Args:
        log: the log.
    """

    def __init__(self, log: TerminalLog) -> None:
        self._log, self.failed = log, 0

    def __call__(self, holds: object, what: str) -> None:
        """Log whether it holds."""
        self.failed += not holds
        self._log.say(f"{'OK' if holds else 'NOT OK'}: {what}")


def from_up_to_down(cluster: Cluster, log: TerminalLog, check: Checks) -> None:
    """The whole of it, with nothing broken."""
    cluster.up(3)
    job = cluster.submit(evaluation("first"))
    code = job.end(JOB_SECONDS)
    log.show(told(job))
    check(code == 0, f"the job ended with exit code {code}")
    check(not (left := cluster.down()), "; ".join(["nothing is left running", *left])[:300])


def broken_machines(cluster: Cluster, check: Checks, other_python: Path | None) -> None:
    """A machine without sshd and one with another Python: the cluster starts with what is left, and says why."""
    cluster.break_workers(other_python)
    cluster.up(1 if other_python else 2)
    time.sleep(15.0)  # the others have been tried
    lines = cluster.ask_head(WHY_NOT, "^[^ ]+: (expected|connect)")
    check(sum("connect to host" in line for line in lines) == 1, "a machine without sshd: one line")
    if other_python:
        check(sum("expected Python" in line for line in lines) == 1, "a machine with another Python: one line")


def dying_head(cluster: Cluster, log: TerminalLog, check: Checks, folder: Path) -> None:
    """The power of the head is cut while models are trained; then `ray up` and the same job again."""
    cluster.mend()
    cluster.up(3)
    job, models = cluster.submit_by_script(evaluation("second")), folder / "shared" / "second" / "model"
    until = time.monotonic() + JOB_SECONDS
    while len(list(models.glob("*.safetensors"))) < EARLY and job.process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    cluster.head.switch_off()
    stored = len(list(models.glob("*.safetensors")))
    log.say(f"the power of the head was cut with {stored} models stored")
    code = job.end(JOB_SECONDS)
    log.show(told(job))
    check(code == 1 and len(job.lines("^submit: error: lost the head")) == 1, f"one line, and exit code {code}")
    check(not job.lines("Traceback"), "no traceback")
    cluster.head.switch_on()
    cluster.up(3)
    job = cluster.submit_by_script(evaluation("second"))
    code = job.end(JOB_SECONDS)
    log.show(told(job))
    check(code == 0, f"the same job, submitted again, ended with exit code {code}")
    reused = json.loads((folder / "shared" / "second.json").read_text())["models"]["reused"]
    check(reused >= stored, f"{reused} models were found again, no less than were stored")
    check(not (left := cluster.down()), "; ".join(["nothing is left running", *left])[:300])


def compare(
    log: TerminalLog, check: Checks, folder: Path, reference: Path, process: subprocess.Popen[bytes] | None
) -> None:
    """The verdicts of both jobs with those of one process, once it has them or has ended."""
    until = time.monotonic() + JOB_SECONDS
    while not reference.exists() and time.monotonic() < until and (process is None or process.poll() is None):
        time.sleep(1.0)
    if process is not None and not reference.exists():
        log.show((folder / "serial.log").read_text(errors="replace").splitlines()[-3:])
    check(reference.exists(), "one process without Ray has given its verdicts, too")
    for name in ("first", "second") if reference.exists() else ():
        report = folder / "shared" / f"{name}.json"
        check(report.exists() and is_equal(report, reference), f"{report.name}: its verdicts, bit for bit")


def job() -> None:
    """All of it, one after the other."""
    chosen = tyro.cli(RayUp, description=__doc__)
    if chosen.other_python is not None and not (chosen.other_python / "ray").exists():
        raise UserError(f"other_python: expected a folder with the command ray, got {chosen.other_python}")
    with tempfile.TemporaryDirectory(prefix="up", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        (folder / "said").mkdir()
        log = TerminalLog(folder / "said")
        check = Checks(log)
        given = nullcontext() if chosen.reference else undisturbed(folder)
        try:
            with given as process, premises(folder) as machines:
                cluster = Cluster(machines, folder, log)
                from_up_to_down(cluster, log, check)
                broken_machines(cluster, check, chosen.other_python)
                dying_head(cluster, log, check, folder)
                compare(log, check, folder, chosen.reference or folder / "serial.json", process)
        finally:
            if chosen.keep is not None:
                ignored = shutil.ignore_patterns(
                    "runtime_resources", "sockets", "serial", "*.safetensors", "auth_token"
                )
                shutil.copytree(folder, chosen.keep, dirs_exist_ok=True, ignore=ignored)
        log.say(f"{check.failed} checks failed" if check.failed else "all checks passed")
    if check.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main(job)
