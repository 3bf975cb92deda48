"""A machine made of Linux namespaces (root): an address, processes, mounts and a host name of its own, an sshd."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

from faults.network import ROOT, ip

from uapfp_dist.errors import UserError

SUBNET = "10.79.0"
BRIDGE = "uapfp-premises"
SSHD = "/usr/sbin/sshd"
COMMANDS = ("ip", "unshare", "nsenter", "setpriv", "ssh", "ssh-keygen", "rsync", SSHD)
"""What this machine must have."""
START_SECONDS = 60.0
"""For which a machine may start."""
NAMESPACES = ("--mount", "--uts", "--pid")
SSHD_OPTIONS = ("PidFile=none", "PermitRootLogin=prohibit-password", "Subsystem=sftp internal-sftp")


class Machine:
    """A machine, which runs. What it writes into its home and its /tmp outlasts a reboot.

    Args:
        name: its host name.
        number: the last one of its address.
        folder: of all machines.
        python: folder of the commands of its Python, with Ray.
        public_key: whose owner may log in by ssh.
        serves: whether it has an sshd.
    """

    def __init__(
        self, name: str, number: int, folder: Path, python: Path, public_key: str, serves: bool = True
    ) -> None:
        self.name, self.address = name, f"{SUBNET}.{number}"
        self.home, self._tmp, self._folder = folder / name / "home", folder / name / "tmp", folder
        self._link = f"premises{number}"
        self._python, self._serves = python, serves
        (self.home / ".ssh").mkdir(parents=True)
        (self.home / ".ssh" / "authorized_keys").write_text(public_key)
        self._tmp.mkdir()
        users = re.sub(r"(?m)^(root:.*:)[^:]*(:[^:]*)$", rf"\g<1>{self.home}\2", Path("/etc/passwd").read_text())
        (folder / name / "passwd").write_text(users)
        new_key(folder / name / "host_key")
        ip("netns", "add", name)
        try:
            ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", self._link, "master", BRIDGE)
            ip("-n", name, "addr", "add", f"{self.address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            self.switch_on()
        except BaseException:
            ip("netns", "del", name)  # its cable goes with it
            raise

    def switch_on(self) -> None:
        """Start it, with its cable in."""
        ip("link", "set", self._link, "up")
        (self.home / ".bashrc").write_text(f"export PATH={self._python}:$PATH\n")
        (ready := self._folder / self.name / "ready").unlink(missing_ok=True)
        script = [*self._mounts(), f"hostname {self.name}", f"touch {ready}", self._first_process()]
        line = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.name]  # it ends with this process
        line += ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "bash", "-ec", "\n".join(script)]
        log = self._folder / self.name / "log"
        with log.open("ab") as file:
            self._outer = Popen(line, stdin=DEVNULL, stdout=file, stderr=file, start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._outer.poll() is not None or time.monotonic() > until:
                self._outer.kill()
                raise UserError(f"machines: expected Linux namespaces, could not make them ({log.read_text().strip()})")
            time.sleep(0.05)

    def _mounts(self) -> Iterator[str]:
        """Its own /tmp, in which the folders that a machine needs are seen, and its own home of root."""
        needed = (self._folder, ROOT, Path(sys.prefix), Path(sys.base_prefix), self._python.parent)
        for path in filter(lambda path: path.is_relative_to("/tmp"), needed):
            inside = self._tmp / path.relative_to("/tmp")
            yield f"mkdir -p {inside}; mount --bind {path} {inside}"
        yield f"mkdir -p {self._tmp}/shared; mount --bind {self._folder}/shared {self._tmp}/shared"
        yield f"mount --rbind {self._tmp} /tmp"
        yield f"mount --bind {self._folder / self.name}/passwd /etc/passwd"
        yield "mount -t tmpfs none /run; mkdir /run/sshd"

    def _first_process(self) -> str:
        if not self._serves:
            return "exec sleep infinity"
        own = (f"HostKey={self._folder / self.name}/host_key", f"AuthorizedKeysFile={self.home}/.ssh/authorized_keys")
        return " ".join((f"exec {SSHD} -D -e -f /dev/null", *(f"-o '{option}'" for option in (*SSHD_OPTIONS, *own))))

    def start(self, command: str, output: Path) -> "Popen[bytes]":
        """A command in a shell on it, in the project's folder, as a person would type it there."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        enter = ["nsenter", "--target", children[0], "--net", *NAMESPACES]
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "root", "LANG": "C.UTF-8", "TERM": "dumb"}
        line = [*enter, "bash", "-c", f"cd {ROOT}; . ~/.bashrc; {command}"]
        with output.open("wb") as file:
            return Popen(line, env=env, stdin=DEVNULL, stdout=file, stderr=STDOUT, start_new_session=True)

    def processes(self) -> list[str]:
        """Command lines of all that runs on it beside its first process and sessions of its sshd."""
        lines = []
        for pid in ip("netns", "pids", self.name).split():
            with suppress(OSError):
                lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
        own = ("unshare ", "sshd: ", SSHD, "sleep infinity")
        return [line for line in lines if line and not line.startswith(own)]

    def switch_off(self) -> None:
        """As at a power cut: the cable first, so that connections hang."""
        ip("link", "set", self._link, "down")
        self._outer.kill()
        self._outer.wait(30)

    def reboot(self, python: Path, serves: bool = True) -> None:
        """Switch it off and on, with another Python, with or without its sshd."""
        self.switch_off()
        self._python, self._serves = python, serves
        self.switch_on()

    def remove(self) -> None:
        """Switch it off and delete it."""
        self.switch_off()
        ip("link", "del", self._link)
        ip("netns", "del", self.name)
        shutil.rmtree(self._folder / self.name)


@contextmanager
def premises(folder: Path) -> Iterator[list[Machine]]:
    """Where machines are put; those in the list are removed at the end, whatever happens.

    Args:
        folder: of their homes; below it `shared`, which they all see as /tmp/shared.

    Raises:
        UserError: a command is missing, or this is not root.
    """
    if missing := [command for command in COMMANDS if not shutil.which(command)]:
        raise UserError(f"machines: expected the commands {', '.join(COMMANDS)}, found no {missing[0]}; install it")
    (folder / "shared").mkdir()
    ip("link", "add", BRIDGE, "type", "bridge")
    machines: list[Machine] = []
    try:
        ip("link", "set", BRIDGE, "up")
        yield machines
    finally:
        with ExitStack() as stack:  # each, whatever becomes of the others
            stack.callback(ip, "link", "del", BRIDGE)
            for machine in machines:
                stack.callback(machine.remove)


def new_key(file: Path) -> str:
    """Make a key pair; returns the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=30)
    return Path(f"{file}.pub").read_text()
