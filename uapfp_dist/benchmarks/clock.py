"""The clock of the benchmark: CPU time."""

import time
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """CPU seconds of this process inside `with` blocks: other processes on the machine do not count."""

    seconds: float = 0.0
    started: float = field(default=0.0, repr=False)

    def __enter__(self) -> "Stopwatch":
        self.started = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self.started
