"""TinyImageNet-200 in its official layout. Its test labels were never published: validation images take their place."""

from pathlib import Path

import torch

from uapfp_dist.data.cache import decoded
from uapfp_dist.data.dataset import Dataset, first_classes, join_notes
from uapfp_dist.data.images import class_files, decode_rgb, labels_of
from uapfp_dist.errors import UserError

NAME = "tiny_imagenet"
FOLDER = "tiny-imagenet-200"
N_CLASSES = 200
PER_CLASS = 500
VALIDATION_PER_CLASS = 50
SIDE = 64


def load_tiny_imagenet(data_root: Path | None, n_classes: int | None = None) -> Dataset:
    """Up to 100,000 + 10,000 images of 64x64 from `data_root/tiny-imagenet-200`, classes in the order of their wnids.

    Raises:
        UserError: no data root, a missing or corrupt file, a class without images.
    """
    root = _root(data_root)
    listed = tuple(sorted((root / "wnids.txt").read_text().split()))
    if len(listed) < 2:
        raise UserError(
            f"{NAME}: expected wnids of at least 2 classes, {root / 'wnids.txt'} has {len(listed)}; unpack it anew",
            argument="data_root",
        )
    wnids, part_note = first_classes(NAME, listed, n_classes)
    train = class_files(NAME, [root / "train" / wnid / "images" for wnid in wnids])
    val = _validation_files(root / "val", wnids)
    labels = torch.cat([labels_of(train), labels_of(val)])
    files = [file for group in (*train, *val) for file in group]
    images = decoded(NAME, files, lambda: decode_rgb(NAME, files, SIDE))
    counts = [len(group) for group in train]
    classes_note = f"{len(listed)} of TinyImageNet's {N_CLASSES} classes" if len(listed) != N_CLASSES else ""
    note = join_notes(_completeness(counts), _validation(sum(map(len, val)), len(val)), classes_note, part_note)
    return Dataset(NAME, images, labels, _readable(root / "words.txt", wnids), sum(counts), note)


def _root(data_root: Path | None) -> Path:
    remedy = f"unpack the official {FOLDER}.zip there, or give the folder (or set UAPFP_DATA) that holds {FOLDER}"
    if data_root is None:
        raise UserError(f"{NAME}: expected a data folder with {FOLDER} in it, got none; {remedy}", argument="data_root")
    root = data_root / FOLDER
    for part in ("wnids.txt", "words.txt", "train", "val/val_annotations.txt", "val/images"):
        if not (root / part).exists():
            raise UserError(
                f"{NAME}: expected {FOLDER} in {data_root}, found no {FOLDER}/{part}; {remedy}", argument="data_root"
            )
    return root


def _validation_files(folder: Path, wnids: tuple[str, ...]) -> list[list[Path]]:
    """The validation images of each class, in the order of the annotations."""
    annotations = folder / "val_annotations.txt"
    groups: dict[str, list[Path]] = {wnid: [] for wnid in wnids}
    for line in annotations.read_text().splitlines():
        file, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0]
        if not wnid:
            raise UserError(f"{NAME}: expected lines of file, tab, wnid in {annotations}, got {line!r}; unpack it anew")
        if wnid in groups:
            groups[wnid].append(folder / "images" / file)
    for wnid, group in groups.items():
        if not group:
            raise UserError(f"{NAME}: expected images of every class, {annotations} has none of {wnid}; unpack it anew")
    return list(groups.values())


def _readable(words: Path, wnids: tuple[str, ...]) -> tuple[str, ...]:
    """The first synonym that words.txt has for each wnid, the wnid itself where it has none."""
    lines = (line.split("\t") for line in words.read_text().splitlines())
    names = {line[0]: line[1].split(",")[0].strip() for line in lines if len(line) > 1}
    return tuple(names.get(wnid, wnid) for wnid in wnids)


def _completeness(counts: list[int]) -> str:
    """What is missing of the 500 training images of each class."""
    if set(counts) == {PER_CLASS // 2}:
        return f"half of TinyImageNet's training set ({PER_CLASS // 2} images a class)"
    if min(counts) < PER_CLASS:
        whole = PER_CLASS * len(counts)
        return f"{sum(counts)} of {whole} training images of TinyImageNet ({min(counts)} to {max(counts)} a class)"
    return ""


def _validation(n: int, n_classes: int) -> str:
    """What is missing of the 50 validation images of each class."""
    whole = VALIDATION_PER_CLASS * n_classes
    return f"{n} of {whole} validation images" if n < whole else ""
