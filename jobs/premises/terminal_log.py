"""What is typed on machines and what comes back, as a log with seconds."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from premises.machine import Machine

COLOUR = re.compile(r"\x1b\[[0-9;]*m|\r")


class TerminalLog:
    """A log.

    Args:
        folder: of the outputs of commands.
    """

    def __init__(self, folder: Path) -> None:
        self._began, self._folder, self._n = time.monotonic(), folder, 0

    def say(self, text: str) -> None:
        """A line of our own, or several."""
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", flush=True)

    def begin(self, machine: Machine, command: str) -> "TypedCommand":
        """Type a command."""
        self.say(f"{machine.name}$ {command}")
        return self.ask(machine, command)

    def ask(self, machine: Machine, command: str) -> "TypedCommand":
        """Type a command that the log leaves out."""
        self._n += 1
        return TypedCommand(machine, command, self._folder / f"{self._n}.txt")

    def show(self, lines: list[str]) -> None:
        """Lines that came back."""
        for line in lines:
            print(f"    {line.strip()}", flush=True)


class TypedCommand:
    """A command that was typed.

    Args:
        machine: where.
        command: what.
        output: file for what it says.
    """

    def __init__(self, machine: Machine, command: str, output: Path) -> None:
        self._output = output
        self.process = machine.start(command, output)

    def lines(self, pattern: str = "") -> list[str]:
        """What it has said so far: the lines in which the pattern is found."""
        lines = COLOUR.sub("", self._output.read_text(errors="replace")).splitlines()
        return [line.rstrip() for line in lines if re.search(pattern, line)]

    def interrupt(self) -> None:
        """Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float) -> int:
        """Wait for its end; returns its exit code.

        Raises:
            RuntimeError: the time is over.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError(f"expected an end within {seconds:g} s, got {self.lines()[-3:]}") from None
