"""The clock of the benchmark: CPU time; of a GPU wall time."""

import time
from dataclasses import dataclass, field

import torch

CPU = torch.device("cpu")


@dataclass
class Stopwatch:
    """Seconds inside `with` blocks.

    On a CPU those of this process: others on the machine do not count. On a GPU wall time, until it has done all.
    """

    device: torch.device = CPU
    seconds: float = 0.0
    started: float = field(default=0.0, repr=False)

    def __enter__(self) -> "Stopwatch":
        self.started = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self.started

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        wait_for(self.device)
        return time.perf_counter()


def wait_for(device: torch.device) -> None:
    """Until all that was launched there is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
