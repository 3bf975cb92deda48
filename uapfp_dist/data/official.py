"""Data sets read and downloaded by torchvision."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torchvision.datasets import VisionDataset

from uapfp_dist.errors import UserError
from uapfp_dist.file_lock import wait_for_lock


def official_parts(
    name: str,
    dataset: type[VisionDataset],
    data_root: Path,
    expected: str,
    remedy: str,
    files: Sequence[Path],
    is_whole: Callable[[Path], bool],
) -> list[Any]:
    """Training and test part in torchvision's layout under `data_root`, downloaded there if missing.

    Args:
        name: of the data set.
        dataset: torchvision's class.
        data_root: the folder that torchvision calls its root.
        expected: which files are expected where, for the error.
        remedy: what to do, for the error.
        files: all that torchvision reads, for the error: it names those that are missing or damaged.
        is_whole: whether one of them that is there is undamaged.

    Raises:
        UserError: missing and not downloadable, or corrupt.
    """
    try:
        return [_part(dataset, data_root, train) for train in (True, False)]
    except Exception as error:  # torchvision raises anything from EOFError to URLError here
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{name}: expected {expected}, {_state(files, is_whole)}, could not read or download them ({cause}); "
            f"{remedy}",
            argument="data_root",
        ) from error


def _state(files: Sequence[Path], is_whole: Callable[[Path], bool]) -> str:
    """What is wrong with them, in words."""
    missing = [path.name for path in files if not path.is_file()]
    damaged, unreadable = list[str](), list[str]()
    for path in files:
        try:
            if path.is_file() and not is_whole(path):
                damaged.append(path.name)
        except OSError:
            unreadable.append(path.name)
    if len(missing) == len(files):
        return "found none"
    states = {"missing": missing, "damaged": damaged, "unreadable": unreadable}
    found = [f"{' and '.join(names)} {state}" for state, names in states.items() if names]
    return f"found {', '.join(found)}" if found else "found them all"


def _part(dataset: Any, data_root: Path, train: bool) -> Any:
    try:
        return dataset(str(data_root), train=train, download=False)
    except RuntimeError as missing:
        if "not found" not in str(missing):
            raise
        if not data_root.is_dir():  # a mistyped path must not become a folder
            raise FileNotFoundError(f"no folder {data_root}") from missing
        path = data_root / ".download.lock"
        try:
            with path.open("w") as lock:
                wait_for_lock(lock)  # one process downloads: what others read of it meanwhile would be torn
                return dataset(str(data_root), train=train, download=True)
        finally:
            path.unlink(missing_ok=True)
