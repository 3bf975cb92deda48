"""Random generators seeded by the task; the global random state stays as it is."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on `parts` alone (never on the order of execution)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_rng(*parts: object) -> torch.Generator:
    """A CPU generator for `parts`: on the CPU, so that random indices are equal on every device."""
    return torch.Generator().manual_seed(seed_of(*parts))


def numpy_rng(*parts: object) -> np.random.Generator:
    """The same for NumPy."""
    return np.random.default_rng(seed_of(*parts))


@dataclass(frozen=True, eq=False)
class GlobalState:
    """The global random state of the CPU and of a device at a moment."""

    cpu: torch.Tensor
    gpu: torch.Tensor | None
    device: torch.device

    @classmethod
    def of(cls, device: torch.device) -> "GlobalState":
        """The present one."""
        gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.random.get_rng_state(), gpu, device)

    def restore(self) -> None:
        """Make it the present one."""
        torch.random.set_rng_state(self.cpu)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A global state of its own, for operations that take no generator (layer initialisation, dropout)."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
