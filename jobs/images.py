"""What a data set holds: classes, images of each, their size, and every file that is converted or left out.

    python jobs/images.py --data-root FOLDER                    # FOLDER/<class>/<image>, or train/ and test/ of such
    python jobs/images.py --data-root FOLDER --data.size 64
    python jobs/images.py --data-root FOLDER --list images.txt  # index, class and file of each image

Nothing is trained. Shorten the list to the images that your model was trained on for enroll.py --trained-on.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from uapfp_dist.command import main
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import load
from uapfp_dist.data.image_list import write_list
from uapfp_dist.data.summary import summary_lines


@dataclass(frozen=True)
class Which:
    """The images, as in the other jobs."""

    name: str = "imagefolder"
    """digits, fashion_mnist, cifar10, tiny_imagenet, or imagefolder (a folder of your own)."""
    n_classes: int | None = None
    """Only the first so many classes; None: all."""
    size: tuple[int, ...] | None = None
    """Of the images of a folder: one side, or height and width (None: as they are, or their median)."""


@dataclass(frozen=True)
class Images:
    """Print what a data set holds, and list its images."""

    data: Which = field(default_factory=Which)
    data_root: Path | None = None
    """Folder of the images (default: $UAPFP_DATA); not needed for digits."""
    list: Path | None = None
    """Also write index, class and file of each image to this new file, with tabs between."""


def job() -> None:
    """Read, print, list."""
    chosen = tyro.cli(Images, args=sys.argv[1:], description=__doc__)
    data = DataConfig(name=chosen.data.name, n_classes=chosen.data.n_classes, size=chosen.data.size)
    root = resolve(RuntimeConfig(data_root=chosen.data_root, mlflow_uri="none")).data_root
    dataset = load(data.name, root, data.n_classes, data.shape)
    print("\n".join(summary_lines(dataset)), flush=True)
    if chosen.list is not None:
        write_list(dataset, chosen.list.expanduser())
        print(f"list of the images: {chosen.list}")


if __name__ == "__main__":
    main(job)
