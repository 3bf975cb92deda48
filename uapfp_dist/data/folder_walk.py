"""The files of a folder in torchvision's order, without the litter of systems, editors and archives."""

import os
from pathlib import Path

from uapfp_dist.data.file_names import shown
from uapfp_dist.data.tally import Tally
from uapfp_dist.errors import UserError

LITTER = frozenset(
    {
        *("__macosx", "@eadir", "#recycle", "lost+found", "$recycle.bin", "system volume information", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    }
)
"""Names, in small letters, that are nobody's images; so are hidden ones, and copies that editors leave."""


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is left out."""
    edited = name.endswith("~") or (len(name) > 1 and name[0] == name[-1] == "#")
    return name.startswith(".") or name.lower() in LITTER or edited


def entries(folder: Path, root: Path, seen: Tally) -> tuple[list[str], list[str]]:
    """(names of the folders, names of the other files) in `folder`, each sorted; litter is counted in `seen`.

    Raises:
        UserError: it cannot be read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"cannot read the folder {shown(folder)} ({error.strerror}); allow reading, or move it away",
            argument="data_root",
        ) from error
    for entry in found:
        if is_litter(entry.name):
            kind = "hidden" if entry.name.startswith(".") else "of a system, an archive or an editor"
            seen.add(f"files or folders left out as litter, {kind}", relative(folder / entry.name, root))
        elif _is_folder(entry):
            folders.append(entry.name)
        else:
            files.append(entry.name)
    return folders, files


def files_below(folder: Path, root: Path, seen: Tally) -> list[Path]:
    """Files of `folder`, in `root`, and of the folders in it, also behind links: each folder once, so that no loop is
    endless, and none of those above it.

    Raises:
        UserError: a folder that cannot be read.
    """
    found: list[tuple[str, list[str]]] = []
    above = [root, *(root / part for part in folder.relative_to(root).parents), folder]
    visited, todo = {_identity(place) for place in above}, [folder]
    while todo:
        here = todo.pop(0)
        folders, files = entries(here, root, seen)
        found.append((str(here), files))
        for name in folders:
            identity = _identity(here / name)
            if identity in visited:
                seen.add("links to folders that are read already, not followed", relative(here / name, root))
            else:
                visited.add(identity)
                todo.append(here / name)
    return [Path(place, name) for place, files in sorted(found) for name in files]


def relative(path: Path, root: Path) -> str:
    """The name of a file as users see it: from the data folder on."""
    return path.relative_to(root).as_posix()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError as error:
        raise UserError(f"cannot read the folder {shown(folder)} ({error.strerror}); move it away") from error
    return stat.st_dev, stat.st_ino
