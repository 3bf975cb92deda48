"""How much memory this process may still take."""

import os
from contextlib import suppress
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current", ""), ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory"))
"""(limit, use, subfolder) of a control group, in version 2 and in version 1."""


def available_memory() -> int | None:
    """Bytes that are free or can be freed, on this machine and within its control groups; None: it is not known."""
    found = [*_machine(), *_groups()]
    return min(found) if found else None


def _machine() -> list[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return [int(line.split()[1]) * 1024]
    with suppress(AttributeError, OSError, ValueError):  # no Linux: at least not more than there is at all
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return []


def _groups() -> list[int]:
    """What each control group above this process leaves; in a container its own group is the root."""
    found = []
    for folder, limit, use in _group_folders():
        with suppress(OSError, ValueError):
            most, used = (folder / limit).read_text().strip(), int((folder / use).read_text())
            if most != "max":
                found.append(max(0, int(most) - used + _reclaimable(folder)))
    return found


def _group_folders() -> list[tuple[Path, str, str]]:
    found = []
    with suppress(OSError):
        for line in (PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            version = 0 if not controllers else 1 if "memory" in controllers.split(",") else None
            if version is not None:
                limit, use, sub = LIMITS[version]
                inner = Path(path.lstrip("/"))
                found += [(CGROUPS / sub / above, limit, use) for above in (inner, *inner.parents)]
    return found


def _reclaimable(folder: Path) -> int:
    """Of the use, what is a cache of files that the kernel gives up."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, value = line.split()
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def gigabytes(n_bytes: float) -> str:
    """As a person reads it."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
