"""A cluster of `ray up` on machines made on this one: a head, two workers, and the machine where a person types."""

import sys
import time
from pathlib import Path

from premises.cluster_file import on_premise
from premises.machine import ROOT, Machine, new_key
from premises.terminal_log import TerminalLog, TypedCommand

FILE, ADDRESS = "~/cluster.yaml", "http://127.0.0.1:8265"
PYTHON = Path(sys.executable).parent
TOKEN = "RAY_AUTH_MODE=token"
PLAIN = "--log-style pretty --log-color false"
WHY_NOT = r'grep -ahE "^[^ ]+: (expected|connect)" /tmp/ray/session_latest/logs/monitor.* | sort -u'
"""As in cluster.yaml."""
COMMAND_SECONDS = 180.0
JOIN_SECONDS = 120.0
GONE_SECONDS = 180.0
"""After `ray down`: workers notice a lost head after a minute."""


class Cluster:
    """The machines, and what is typed there.

    Args:
        machines: the list to which they are added.
        folder: of all machines.
        log: the log.
    """

    def __init__(self, machines: list[Machine], folder: Path, log: TerminalLog) -> None:
        self._log, self._machines = log, machines
        public_key = new_key(folder / "id_ed25519")
        for name in ("head", "worker1", "worker2", "laptop"):
            machines.append(Machine(name, len(machines) + 1, folder, PYTHON, public_key, serves=name != "laptop"))
        self.head, self.worker1, self.worker2, self._laptop = machines
        (folder / "id_ed25519").rename(self._laptop.home / ".ssh" / "id_ed25519")
        text = on_premise(ROOT / "cluster.yaml", [one.address for one in machines[:3]], "root", "/tmp/shared")
        (self._laptop.home / "cluster.yaml").write_text(text)
        log.ask(self._laptop, "ray get-auth-token --generate").end(COMMAND_SECONDS)
        self._tunnel: TypedCommand | None = None

    def break_workers(self, other_python: Path | None) -> None:
        """The first has no sshd, the second another Python."""
        self.worker1.reboot(PYTHON, serves=False)
        self.worker2.reboot(other_python or PYTHON)

    def mend(self) -> None:
        """Both are as they were."""
        for machine in (self.worker1, self.worker2):
            machine.reboot(PYTHON)

    def up(self, n_nodes: int) -> None:
        """`ray up`; then wait until so many machines have joined."""
        typed = self._log.begin(self._laptop, f"ray up --yes {PLAIN} {FILE}")
        code = typed.end(COMMAND_SECONDS)
        self._log.show(typed.lines(r"expected|New status|Local node IP|runtime started|Failed to set"))
        if code:
            raise RuntimeError(f"ray up: {typed.lines()[-20:]}")
        until = time.monotonic() + JOIN_SECONDS
        while (active := self._active()) < n_nodes and time.monotonic() < until:
            time.sleep(5.0)
        self._log.say(f"{active} machines have joined")

    def _active(self) -> int:
        typed = self._log.ask(self._laptop, f"ray exec {PLAIN} {FILE} '{TOKEN} ray status'")
        typed.end(COMMAND_SECONDS)
        return sum(int(line.split()[0]) for line in typed.lines(r"^ \d+ local\.cluster\.node"))

    def ask_head(self, command: str, pattern: str) -> list[str]:
        """A command by `ray exec`; returns the lines in which the pattern is found."""
        typed = self._log.begin(self._laptop, f"ray exec {PLAIN} {FILE} '{command}'")
        typed.end(COMMAND_SECONDS)
        self._log.show(found := typed.lines(pattern))
        return found

    def submit(self, command: str) -> TypedCommand:
        """`ray dashboard`, then `ray job submit`."""
        return self._submit(f"ray job submit {PLAIN} --address {ADDRESS} --working-dir . -- {command}")

    def submit_by_script(self, command: str) -> TypedCommand:
        """`ray dashboard`, then jobs/submit.py."""
        return self._submit(f"python jobs/submit.py --address {ADDRESS} -- {command}")

    def _submit(self, line: str) -> TypedCommand:
        self._tunnel = self._log.begin(self._laptop, f"ray dashboard {FILE}")
        until = time.monotonic() + JOIN_SECONDS
        while self._log.ask(self._laptop, "</dev/tcp/127.0.0.1/8265").end(COMMAND_SECONDS) and time.monotonic() < until:
            time.sleep(1.0)
        return self._log.begin(self._laptop, f"{TOKEN} {line}")

    def down(self) -> list[str]:
        """Ctrl-C to `ray dashboard`, then `ray down`; returns what runs on when the time in which all ends is over."""
        if self._tunnel is not None:
            self._tunnel.interrupt()
        typed = self._log.begin(self._laptop, f"ray down --yes {PLAIN} {FILE}")
        typed.end(COMMAND_SECONDS)
        self._log.show(typed.lines(r"stopped\.|nodes remaining|No nodes"))
        began = time.monotonic()
        while (left := self.left()) and time.monotonic() - began < GONE_SECONDS:
            time.sleep(2.0)
        self._log.say(f"{len(left)} processes left {time.monotonic() - began:.0f} s after it, beside each sshd")
        return left

    def left(self) -> list[str]:
        """What runs on any of the machines, beside the sshd of each."""
        return [f"{machine.name}: {line}" for machine in self._machines for line in machine.processes()]
