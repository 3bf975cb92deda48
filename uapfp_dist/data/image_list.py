"""A numbered list of the images of a data set, to read and to shorten: index, class, file, with tabs between."""

import re
from pathlib import Path

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.file_names import read_name, shown
from uapfp_dist.errors import UserError
from uapfp_dist.whole_file import whole_file


def list_lines(dataset: Dataset) -> list[str]:
    """A line for each image; without its file where the data set has none."""
    names = dataset.files or ("",) * len(dataset.labels)
    return [_line(dataset, i, name) for i, name in enumerate(names)]


def _line(dataset: Dataset, i: int, name: str) -> str:
    fields = [str(i), shown(dataset.class_names[int(dataset.labels[i])])]
    return "\t".join([*fields, shown(name)] if name else fields)


def write_list(dataset: Dataset, path: Path) -> None:
    """Write the list into a new file.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    if path.exists():
        raise UserError(f"list: expected a new file, {shown(path)} is there already; choose another", argument="list")
    text = "".join(f"{line}\n" for line in list_lines(dataset))
    try:
        with whole_file(path) as new:
            new.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(
            f"list: expected a file that can be written, got {shown(path)} ({error.strerror}); choose another",
            argument="list",
        ) from error


def read_list(path: Path, dataset: Dataset) -> list[int]:
    """The images that a text file names: by indices, by files, or by lines of `list_lines`; not by a mixture.

    Raises:
        UserError: no such file; a line that names no image of `dataset`, or another one than its index does; an image
            that is named twice; indices beside names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"expected a text file at {shown(path)} ({error}); give one") from error
    lines = [(number, line.strip(" \r")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    by_name = {name: i for i, name in enumerate(dataset.files)}
    first, seen = "", dict[int, int]()
    for number, line in lines:
        here = f"line {number} of {shown(path)}"
        kind, found = _images(line, dataset, by_name, here)
        if first and kind != first:
            raise UserError(f"{here}: expected {first} as in the first line, got {kind} ({shown(line[:80])}); use one")
        first = kind
        for i in found:
            if i in seen:
                raise UserError(f"{here}: expected each image once, got {shown(line[:80])} also in line {seen[i]}")
            seen[i] = number
    return sorted(seen)


def _images(line: str, dataset: Dataset, by_name: dict[str, int], here: str) -> tuple[str, list[int]]:
    """(what a line is, the images that it names)."""
    numbers = all(re.fullmatch(r"-?\d+", word) for word in line.split())
    if "\t" in line and not line.startswith('"') and not (numbers and dataset.files):
        start = line.split("\t", 1)[0].strip()
        i = int(start) if start.isdecimal() else -1
        if not 0 <= i < len(dataset.labels):
            raise _unknown(line, dataset, here)
        now = _line(dataset, i, dataset.files[i] if dataset.files else "")
        if line != now:
            raise UserError(
                f"{here}: expected image {i} to be {shown(now)} as it is today, got {shown(line[:160])}; the images "
                "have changed since, write the list anew"
            )
        return "lines of a numbered list", [i]
    if numbers:
        indices = [int(word) for word in line.split()]
        if any(not 0 <= i < len(dataset.labels) for i in indices):
            raise _unknown(line, dataset, here)
        return "indices", indices
    name = read_name(line).removeprefix("./")
    if name not in by_name:
        raise _unknown(line, dataset, here)
    return "files", [by_name[name]]


def _unknown(line: str, dataset: Dataset, here: str) -> UserError:
    files = f"or a file such as {shown(dataset.files[0])}" if dataset.files else "as these images have no files"
    return UserError(
        f"{here}: expected an index from 0 to {len(dataset.labels) - 1}, {files}, got {shown(line[:80])}; write the "
        "list of today with uapfp images"
    )
