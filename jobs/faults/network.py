"""Hosts as network namespaces on one bridge (Linux, root)."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from uapfp_dist.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SUBNET, NAMES = "10.78.0", "host"
BRIDGE = f"{NAMES}-br"


OWN_FOLDER = 'mount --bind "$0" "$1" && shift && exec "$@"'
"""For sh: the first folder takes the place of the second, for this process and its children; then the command."""


class Network:
    """Hosts with addresses of their own. They share the disk but for one folder, `temporary`, which each has of its
    own: Ray's nodes unpack a job's files there, and must not disturb each other.

    Args:
        folder: of their logs.
        variables: of the environment of their processes.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self.temporary = folder / "t"  # short: sockets lie there
        self.temporary.mkdir()
        self._hosts: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._next = 1
        self._has_bridge = False
        theirs = ("RAY_", "MLFLOW_", "UAPFP_")
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(theirs)},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **variables,
            "RAY_TMPDIR": str(self.temporary),
        }

    def add(self) -> str:
        """A new host with an address that was never used before; returns its name."""
        name, address = f"{NAMES}{self._next}", f"{SUBNET}.{self._next}"
        if self._next == 1:
            ip("link", "add", BRIDGE, "type", "bridge")
            self._has_bridge = True
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

    def address(self, name: str) -> str:
        """Its address on the bridge."""
        return self._hosts[name]

    def start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        """A process on a host; its output goes to a log of the host."""
        disk = self._folder / f"{name}-t"
        disk.mkdir(exist_ok=True)
        with (self._folder / f"{name}.log").open("ab") as log:
            line = ["ip", "netns", "exec", name, "sh", "-c", OWN_FOLDER, str(disk), str(self.temporary), *command]
            process = subprocess.Popen(line, cwd=ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True)
        self._processes.append(process)
        return process

    def processes(self, name: str) -> dict[int, str]:
        """Running processes of a host: id to command line."""
        found = {}
        for pid in map(int, ip("netns", "pids", name).split()):
            with suppress(OSError):
                if is_running(pid):
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def plug(self, name: str, connected: bool) -> None:
        """Pull a host's cable, or put it back: without it what is sent to the host is lost, and nobody says so."""
        ip("link", "set", f"{name}-out", "up" if connected else "down")

    def kill(self, name: str) -> int:
        """SIGKILL to all processes of a host; returns their number."""
        return kill(self.processes(name))

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
        if self._has_bridge:  # else it is that of another run
            ip("link", "del", BRIDGE)
        for process in self._processes:
            process.wait(timeout=30)


def kill(pids: Mapping[int, str]) -> int:
    """SIGKILL to processes, which have ended when this returns: on a busy machine that takes a while.

    Returns their number.
    """
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    wait_until(lambda: not any(map(is_running, pids)), 30.0, "killed processes to end", every=0.01)
    return len(pids)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def ip(*arguments: str) -> str:
    """Run the command `ip`; returns its output."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise UserError(
            f"ip {' '.join(arguments)}: expected to make network namespaces, got {done.stderr.strip()!r}; run it "
            "as root on Linux, one at a time"
        )
    return done.stdout


@contextmanager
def network(folder: Path, variables: Mapping[str, str]) -> Iterator[Network]:
    """Hosts that are removed at the end, whatever happens."""
    hosts = Network(folder, variables)
    try:
        yield hosts
    finally:
        hosts.close()


def wait_until(condition: Callable[[], object], seconds: float, what: str, every: float = 0.5) -> None:
    """Poll.

    Raises:
        TimeoutError: the time is over.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"expected {what} within {seconds:g} s")
        time.sleep(every)


def responds(url: str) -> bool:
    """Whether a server responds."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
