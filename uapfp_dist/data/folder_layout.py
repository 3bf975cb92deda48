"""What the sub-folders of a folder of images are: classes, or parts of the data with classes in them."""

from dataclasses import dataclass
from pathlib import Path

from uapfp_dist.data.file_names import shown
from uapfp_dist.data.folder_walk import entries, files_below
from uapfp_dist.data.tally import Tally
from uapfp_dist.errors import UserError

NAME = "imagefolder"
LAYOUT = "FOLDER/<class>/<image> or FOLDER/{train,test}/<class>/<image>"
TRAIN, TEST, VALIDATION = "training", "test", "validation"
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), VALIDATION),
}
"""Name of a folder, in small letters, to the part of the data that it holds."""


@dataclass(frozen=True)
class Layout:
    """Where the classes are."""

    parts: tuple[Path, ...]
    """The folder of all images; or the training and the test images."""
    classes: tuple[str, ...]
    """Names of the folders in each part, sorted."""
    note: str = ""
    """Which images are not used."""


def find_layout(root: Path, seen: Tally) -> Layout:
    """Tell classes from splits; what is not read is counted in `seen`.

    Raises:
        UserError: neither, or something of both; classes that differ between the parts.
    """
    folders = _class_folders(root, root, seen)
    named = {folder: SPLITS[folder.lower()] for folder in folders if folder.lower() in SPLITS}
    nested = {folder for folder in named if entries(root / folder, root, Tally())[0]}
    if nested:
        return _split_layout(root, folders, named, nested, seen)
    kinds = set(named.values())
    if named and (len(named) == len(folders) or (TRAIN in kinds and len(kinds) > 1)):
        raise _error(root, f"found no class folders in {_listed(named)}", "sort the images by class, in a folder each")
    for folder in named:
        seen.add("folders with the name of a split but without class folders, taken for classes", folder)
    if len(folders) < 2:
        found = f"found {f'only the class {shown(folders[0])}' if folders else 'no folder'}"
        inner = [name for name in folders if _holds_layout(root / name)]
        raise _error(root, found, f"give {shown(root / inner[0])}" if inner else "choose another folder")
    _refuse_splits_within(root, folders)
    _refuse_same_folders(root, folders)
    return Layout((root,), tuple(folders))


def _split_layout(root: Path, folders: list[str], named: dict[str, str], nested: set[str], seen: Tally) -> Layout:
    """Training images and one other part, `test` before `val`."""
    others = [folder for folder in folders if folder not in named]
    if others:
        what = f"found the splits {_listed(nested)} beside {_listed(others)}"
        raise _error(root, what, "move one or the other away, or rename what is a class")
    if flat := [folder for folder in named if folder not in nested]:
        raise _error(root, f"found no class folders in {_listed(flat)}", "sort its images by class, or move it away")
    by_kind: dict[str, str] = {}
    for folder, kind in named.items():
        if kind in by_kind:
            what = f"found two folders of {kind} images, {_listed((by_kind[kind], folder))}"
            raise _error(root, what, "merge them, or move one away")
        by_kind[kind] = folder
    if TRAIN not in by_kind:
        raise _error(root, f"found no training images beside {_listed(named)}", "add train, or give a folder of it")
    if len(by_kind) == 1:
        only = root / by_kind[TRAIN]
        raise _error(root, f"found only {_listed(named)}", f"add test, or give {shown(only)}, to have it split")
    held_out = by_kind.get(TEST) or by_kind[VALIDATION]
    note = ""
    if len(by_kind) == 3:
        unused = by_kind[VALIDATION]
        n_files = len(files_below(root / unused, root, Tally()))
        seen.add(f"files of {shown(unused)} not used, as {shown(held_out)} is the test set", f"{unused}/", n_files)
        note = f"{n_files} files of {shown(unused)} not used"
    parts = (root / by_kind[TRAIN], root / held_out)
    train, test = (_class_folders(part, root, seen) for part in parts)
    if odd := sorted(set(train) ^ set(test)):
        raise UserError(
            f"{NAME}: expected the same classes in {shown(parts[0])} and {shown(held_out)}, got only in one of them: "
            f"{', '.join(map(shown, odd[:8]))}{', ...' if len(odd) > 8 else ''}; add or remove those folders"
        )
    if len(train) < 2:
        raise _error(root, f"found only the class {shown(train[0])}", "add another")
    return Layout(parts, tuple(train), note)


def _class_folders(folder: Path, root: Path, seen: Tally) -> list[str]:
    folders, files = entries(folder, root, seen)
    for file in files:
        seen.add("files beside the folders of classes, not read", (folder / file).relative_to(root).as_posix())
    return folders


def _refuse_splits_within(root: Path, classes: list[str]) -> None:
    """Training and test images of a class would become one set."""
    for name in classes:
        within = {SPLITS.get(inner.lower()) for inner in entries(root / name, root, Tally())[0]} - {None}
        if TRAIN in within and len(within) > 1:
            what = f"found training and test images within {shown(name)}"
            raise _error(root, what, "turn it into train/<class> and test/<class>, or give that folder")


def _refuse_same_folders(root: Path, folders: list[str]) -> None:
    """Parts of the data under names that are not known would become classes."""
    inner = [entries(root / name, root, Tally()) for name in folders]
    names = set(inner[0][0])
    if len(names) > 1 and all(set(below) == names and not files for below, files in inner):
        what = f"found the same folders, {_listed(names)}, in each of {_listed(folders)}"
        raise _error(
            root, what, "name the parts of the data train and test, or put the images of a class into one folder"
        )


def _holds_layout(folder: Path) -> bool:
    return len(entries(folder, folder, Tally())[0]) > 1


def _listed(names: object) -> str:
    found = sorted(names)  # type: ignore[call-overload]
    return ", ".join(map(shown, found[:6])) + (", ..." if len(found) > 6 else "")


def _error(root: Path, found: str, remedy: str) -> UserError:
    return UserError(f"{NAME}: expected {LAYOUT}, in {shown(root)} {found}; {remedy}", argument="data_root")
