"""NVIDIA's Multi-Process Service, by a command that stands in for its daemon."""

import ctypes
import logging
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from uapfp_dist.cluster import mps as service
from uapfp_dist.cluster import session as sessions
from uapfp_dist.cluster.session import ClusterResources


def control(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command of the daemon's name, first on the path; its arguments and input go to a file."""
    log, file = folder / "log", folder / service.CONTROL
    file.write_text(f'#!/bin/sh\necho "$@ pipes=$CUDA_MPS_PIPE_DIRECTORY" >> {log}\n{script}\n')
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv(service.PIPES, raising=False)
    monkeypatch.setattr(service, "CLIENT", "")
    return log


def test_mps_starts_and_ends_with_what_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = control(tmp_path, f'if [ "$1" = -d ]; then exit 0; fi; cat >> {tmp_path}/log', monkeypatch)
    with service.mps() as why:
        assert why == ""
        pipes = os.environ[service.PIPES]
        assert Path(pipes).is_dir()
        (Path(pipes) / "control").touch()
        with service.mps() as inner:
            assert inner == "", "one that is there is used"
    assert service.PIPES not in os.environ
    assert not Path(pipes).exists()
    assert log.read_text().splitlines() == [f"-d pipes={pipes}", f" pipes={pipes}", "quit"]


def test_the_daemon_sees_every_gpu_and_its_clients_those_they_are_pinned_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would number those that it sees from 0, and a client that is pinned to GPU 3 would find none."""
    log = control(tmp_path, f'echo "daemon sees ${{CUDA_VISIBLE_DEVICES-all}}" >> {tmp_path}/log', monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    client = f"import os; open({str(log)!r}, 'a').write('client sees ' + os.environ['CUDA_VISIBLE_DEVICES'] + '\\n')"
    monkeypatch.setattr(service, "CLIENT", client)
    with service.mps() as why:
        assert why == ""
        assert [line for line in log.read_text().splitlines() if "sees" in line] == [
            "daemon sees all",
            "client sees 2,3",
        ]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo 'Cannot find MPS control daemon process\nand more' >&2; exit 1", "Cannot find MPS control daemon"),
        ("exit 3", "code 3"),
    ],
)
def test_mps_that_cannot_start_is_one_line(
    script: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is there all the same is ended."""
    log = control(tmp_path, f'if [ "$1" != -d ]; then cat >> {tmp_path}/log; exit 0; fi; {script}', monkeypatch)
    with service.mps() as why:
        assert why.startswith("MPS: it could not be started: ")
        assert line in why
        assert "\n" not in why
    assert service.PIPES not in os.environ
    assert log.read_text().splitlines()[-1] == "quit"
    monkeypatch.setattr(service.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    with service.mps() as why:
        assert why == "MPS: this machine has no nvidia-cuda-mps-control"
    monkeypatch.setattr(service.shutil, "which", lambda name: "/no/such/file")  # type: ignore[attr-defined]
    with service.mps() as why:
        assert "No such file" in why


def test_mps_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control(tmp_path, "sleep 30", monkeypatch)
    monkeypatch.setattr(service, "SECONDS", 0.2)
    with service.mps() as why:
        assert "timed out" in why


def test_a_daemon_that_keeps_what_it_inherited_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends at once; its daemon still holds the same standard output and error."""
    log = control(tmp_path, f'if [ "$1" = -d ]; then sleep 60 & echo $! > {tmp_path}/pid; fi', monkeypatch)
    monkeypatch.setattr(service, "SECONDS", 5.0)
    try:
        with service.mps() as why:
            assert why == ""
        assert len(log.read_text().splitlines()) == 2
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_mps_through_which_no_process_can_work_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers would find no GPU: they would fail, or take the CPU."""
    log = control(tmp_path, f'if [ "$1" = -d ]; then exit 0; fi; cat >> {tmp_path}/log', monkeypatch)
    monkeypatch.setattr(service, "CLIENT", "import sys; sys.exit('cuInit gave error 805')")
    with service.mps() as why:
        assert why == "MPS: it was started, but no process can use the GPU through it: cuInit gave error 805"
    assert service.PIPES not in os.environ
    assert log.read_text().splitlines()[-1] == "quit"


def test_the_client_says_what_is_missing() -> None:
    """Without a driver it fails in one line."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        wrong = service._run([sys.executable, "-c", service.CLIENT])
        assert wrong.startswith("libcuda.so.1: ")
        assert "\n" not in wrong
    else:
        pytest.skip("there is a driver")


@pytest.mark.parametrize(("gpus", "address", "said"), [(1.0, None, 1), (0.0, None, 0), (1.0, "10.0.0.1:6379", 0)])
def test_workers_that_share_a_gpu_in_turn_are_told_of(
    gpus: float, address: str | None, said: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a Ray of our own, once; a cluster's nodes are its owner's."""

    @contextmanager
    def connected(chosen: object) -> Iterator[ClusterResources]:
        yield ClusterResources(8, gpus, elastic=address is not None)

    monkeypatch.setattr(sessions, "_connected", connected)
    monkeypatch.setattr(service.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    monkeypatch.delenv(service.PIPES, raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sessions, "chosen_address", lambda given: Chosen(given))
    with caplog.at_level(logging.WARNING), sessions.session(address) as resources:
        assert resources.gpus == gpus
    assert len(caplog.records) == said
    assert "use it in turn" in caplog.text or not said


@dataclass
class Chosen:
    """An address that is there."""

    value: str | None

    def check(self) -> None:
        """Nothing is wrong."""
