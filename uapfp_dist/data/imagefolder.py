"""A folder of images of the user: one sub-folder per class, optionally under train/ and test/."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from uapfp_dist.data.dataset import Dataset, first_classes, join_notes
from uapfp_dist.data.file_names import shown
from uapfp_dist.data.folder_images import read_images
from uapfp_dist.data.folder_layout import LAYOUT, NAME, Layout, find_layout
from uapfp_dist.data.folder_walk import files_below, relative
from uapfp_dist.data.image_size import Size
from uapfp_dist.data.tally import Tally
from uapfp_dist.errors import UserError


@dataclass(frozen=True)
class _Listed:
    """A file that may be an image."""

    path: Path
    label: int
    part: int


def load_imagefolder(data_root: Path | None, n_classes: int | None = None, size: Size | None = None) -> Dataset:
    """Images of `data_root` as RGB (or grey where all are grey), at one size.

    Args:
        data_root: FOLDER/<class>/<image>, or with a folder of training and one of test images around the classes.
        n_classes: only the first so many classes; None: all.
        size: (height, width); None: that of all images, or their median.

    Raises:
        UserError: missing or empty folder, a layout that is no clear one, an image that cannot be read, or whose values
            have no known scale, different classes in the parts, too little memory.
    """
    if data_root is None or not data_root.is_dir():
        where = "none" if data_root is None else f"no folder {shown(data_root)}"
        raise UserError(f"{NAME}: expected {LAYOUT}, found {where}; give the folder", argument="data_root")
    walked = Tally()
    layout = find_layout(data_root, walked)
    classes, part_note = first_classes(NAME, layout.classes, n_classes)
    listed = [
        _Listed(path, label, part)
        for part, folder in enumerate(layout.parts)
        for label, name in enumerate(classes)
        for path in files_below(folder / name, data_root, walked)
    ]
    _check_classes(layout, classes, listed)
    _refuse_two_labels(listed)
    try:
        found = read_images(data_root, [file.path for file in listed], size)
    except UserError as error:
        raise UserError(f"{NAME}: {error}", argument=error.argument) from error
    other = set(found.remarks.other)
    kept = [file for i, file in enumerate(listed) if i not in other]
    _check_classes(layout, classes, kept)
    n_train = sum(file.part == 0 for file in kept) if len(layout.parts) == 2 else None
    return Dataset(
        NAME,
        found.images,
        torch.tensor([file.label for file in kept]),
        tuple(classes),
        n_train,
        join_notes(found.remarks.note, layout.note, part_note),
        tuple(relative(file.path, data_root) for file in kept),
        (*found.remarks.facts, *walked.lines()),
    )


def _refuse_two_labels(files: Sequence[_Listed]) -> None:
    """One file, by links, in two classes or parts."""
    seen: dict[tuple[int, int], _Listed] = {}
    for file in files:
        try:
            stat = file.path.stat()
        except OSError:  # reading it says so
            continue
        other = seen.setdefault((stat.st_dev, stat.st_ino), file)
        if (other.label, other.part) != (file.label, file.part):
            raise UserError(
                f"{NAME}: expected every image in one class and part, got {shown(other.path)} again as "
                f"{shown(file.path)}; remove one of the links",
                argument="data_root",
            )


def _check_classes(layout: Layout, classes: Sequence[str], files: Sequence[_Listed]) -> None:
    """Refuse a class without any of `files` in one of the parts."""
    there = {(file.part, file.label) for file in files}
    for part, folder in enumerate(layout.parts):
        for label, name in enumerate(classes):
            if (part, label) not in there:
                raise UserError(
                    f"{NAME}: expected images of every class, found none in {shown(folder / name)}; add some, or move "
                    "the folder away",
                    argument="data_root",
                )
