"""The images of a command, and what a person should know of them before anything is trained."""

import sys
import time
from contextlib import suppress
from pathlib import Path

from uapfp_dist.config.runtime import ResolvedPaths
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import Dataset, load
from uapfp_dist.data.cache import cache_folder
from uapfp_dist.data.summary import summary_lines
from uapfp_dist.errors import UserError

SLOW_SECONDS = 60.0
"""A reading that takes longer is noted: the next one finds the decoded images in the cache; another node does not."""


def load_images(data: DataConfig, paths: ResolvedPaths, preset_share: float = DataConfig.train_share) -> Dataset:
    """The data set of a configuration; how the files of a folder were read, or what is missing, is printed to stderr.

    Args:
        data: which one.
        paths: where its files are.
        preset_share: `train_share` of the preset that the configuration started from.

    Raises:
        UserError: missing or damaged files; too few images; too little memory; a share that would split nothing.
    """
    started = time.perf_counter()
    dataset = load(data.name, paths.data_root, data.n_classes, data.shape)
    _note_reading(dataset.digest, time.perf_counter() - started)
    if dataset.n_train is not None and data.train_share not in (preset_share, DataConfig.train_share):
        raise UserError(
            f"data.train_share: expected {preset_share:g}, as in the preset, with {dataset.name}: it comes with a test "
            f"set, which no share changes; got {data.train_share:g}; leave it out",
            argument="data.train_share",
        )
    if dataset.facts:
        print("\n".join(summary_lines(dataset)), file=sys.stderr, flush=True)
    elif dataset.note:
        print(f"{dataset.name}: {dataset.note}", file=sys.stderr, flush=True)
    return dataset


def reading_seconds(digest: str) -> float:
    """How long it once took this machine to read the images with this digest; 0 where that was soon done."""
    with suppress(OSError, ValueError):
        return float(_note_of(digest).read_text())
    return 0.0


def _note_reading(digest: str, seconds: float) -> None:
    if seconds > max(SLOW_SECONDS, reading_seconds(digest)):
        note = _note_of(digest)
        with suppress(OSError):  # then other machines have as long as for few images
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{seconds:.0f}")


def _note_of(digest: str) -> Path:
    """The file beside the decoded images."""
    return cache_folder() / f"{digest}.seconds"
