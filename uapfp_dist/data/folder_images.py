"""The images of a folder, decoded at one size, and all that was scaled, converted or left out on the way."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.data.cache import decoded_with_remarks
from uapfp_dist.data.dataset import join_notes
from uapfp_dist.data.file_names import shown
from uapfp_dist.data.folder_walk import relative
from uapfp_dist.data.image_header import read_header
from uapfp_dist.data.image_size import Size, check_memory, choose_size, text
from uapfp_dist.data.image_values import GREYS_16, read_pixels
from uapfp_dist.data.tally import Tally
from uapfp_dist.errors import UserError
from uapfp_dist.serialization import from_json, to_json

READER = "imagefolder-3"
"""Names in the cache how files are decoded: raise the number when pixels or remarks change."""
COPIES = "exact copies of other images, kept: a model may train on one and be judged by the other"


@dataclass(frozen=True)
class Remarks:
    """What became of the files."""

    other: tuple[int, ...]
    """Which of them are no images, and are left out."""
    facts: tuple[str, ...]
    """How the images were read, a line each."""
    note: str
    """What of that is a caveat for results."""


@dataclass(frozen=True)
class FolderImages:
    """What files of a folder hold."""

    images: Tensor
    """(N, c, h, w) uint8, in the order of the files."""
    remarks: Remarks


def read_images(root: Path, files: Sequence[Path], size: Size | None) -> FolderImages:
    """Decode the images among `files` in the folder `root`; from the cache where they have been before.

    Raises:
        UserError: one that cannot be read, or whose values have no known scale; no image at all; too little memory.
    """
    name = f"{READER}-{'median' if size is None else text(size)}"

    def decode() -> tuple[Tensor, str]:
        images, remarks = _decode(root, files, size)
        return images, json.dumps(to_json(remarks))

    images, kept = decoded_with_remarks(name, files, decode)
    return FolderImages(images, from_json(Remarks, json.loads(kept)))


def _decode(root: Path, files: Sequence[Path], wanted: Size | None) -> tuple[Tensor, Remarks]:
    seen = Tally()
    headers = [(path, read_header(path)) for path in files]
    other = tuple(i for i, (_, header) in enumerate(headers) if header is None)
    for i in other:
        suffix = shown(files[i].suffix.lower()) if files[i].suffix else "without a suffix"
        kind = f"files left out, no images by name or content, {suffix}"
        seen.add(kind, relative(files[i], root))
    found = [(path, header) for path, header in headers if header is not None]
    if not found:
        raise UserError(f"expected images in {shown(root)}, found none; choose another folder", argument="data_root")
    size, why = choose_size([header.size for _, header in found], wanted)
    mode = "L" if all(header.grey for _, header in found) else "RGB"
    for path, header in found:
        for remark in header.remarks:
            seen.add(f"images {remark}", relative(path, root))
        if header.grey and mode == "RGB":
            seen.add("grey images among colours, with three equal channels", relative(path, root))
    channels = len(mode)
    check_memory(len(found), channels, size, max((h.size for _, h in found), key=lambda s: s[0] * s[1]))
    images = torch.empty(len(found), channels, *size, dtype=torch.uint8)
    scaled: dict[str, tuple[float, float]] = {}
    for i, (path, header) in enumerate(found):
        pixels = read_pixels(path, header, mode, size)
        values = torch.from_numpy(pixels.values)
        images[i] = values[None] if mode == "L" else values.permute(2, 0, 1)
        if pixels.scaled:
            seen.add(f"images {pixels.scaled}", relative(path, root))
            low, high = pixels.greys
            before = scaled.get(pixels.scaled, pixels.greys)
            scaled[pixels.scaled] = min(low, before[0]), max(high, before[1])
    _refuse_8_bits(scaled)
    for i in _copies(images):
        seen.add(COPIES, relative(found[i][0], root))
    facts = [why, *seen.lines(), *(_range_fact(kind, low, high) for kind, (low, high) in scaled.items())]
    resized = any(header.size != size for _, header in found)
    note = join_notes(
        f"resized to {text(size)}" if resized else "",
        *(f"{seen[f'images {k}']} images {k}" for k in scaled),
        f"{seen[COPIES]} exact copies" if seen[COPIES] else "",
    )
    return images, Remarks(other, tuple(facts), note)


def _copies(images: Tensor) -> Iterator[int]:
    """Which of (N, c, h, w) images are the same, pixel by pixel, as one before them."""
    known: set[bytes] = set()
    for i, image in enumerate(images):
        digest = hashlib.blake2b(image.numpy(), digest_size=16).digest()
        if digest in known:
            yield i
        known.add(digest)


def _refuse_8_bits(scaled: dict[str, tuple[float, float]]) -> None:
    """Values of 8 bits in files of 16 would all become black."""
    _, high = scaled.get(GREYS_16, (0, 65535))
    if high <= 255:
        raise UserError(
            f"expected greys of 16 bits in files of 16 bits, the largest of all is {high:g}: they hold 8 bits; save "
            "them as such",
            argument="data_root",
        )


def _range_fact(kind: str, low: float, high: float) -> str:
    """The range of values that were scaled: a camera's 12 bits in a file of 16 become nearly black."""
    dark = "; if these are 12-bit values, multiply them by 16 first" if kind == GREYS_16 and high < 4096 else ""
    return f"values {kind}: {low:g} to {high:g}{dark}"
