"""What a data set holds: classes, images of each, their size, files that are converted or left out.

    uapfp images --data-root FOLDER                    # FOLDER/<class>/<image>, or train/ and test/
    uapfp images --data-root FOLDER --list images.txt  # index, class and file of each image

Nothing is trained. Shortened to the images that your model was trained on, the list is what uapfp
enroll --trained-on takes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import load
from uapfp_dist.data.image_list import write_list
from uapfp_dist.data.summary import summary_lines


@dataclass(frozen=True)
class Which:
    """The images, as in the other commands."""

    name: str = "imagefolder"
    """digits, fashion_mnist, cifar10, tiny_imagenet, or imagefolder (your own)."""
    n_classes: int | None = None
    """Only the first so many classes; None: all."""
    size: tuple[int, ...] | None = None
    """Of a folder's images: one side, or height and width (default: as they are). Their median, where they differ."""


@dataclass(frozen=True)
class Images:
    """Print what a data set holds, and list its images."""

    data: Which = field(default_factory=Which)
    data_root: Path | None = None
    """Folder of the images (default: $UAPFP_DATA); not needed for digits."""
    list: Path | None = None
    """Also write index, class and file of each image to this new file. Tabs are between them."""


def images(chosen: Images) -> None:
    """Read, print, list."""
    data = DataConfig(name=chosen.data.name, n_classes=chosen.data.n_classes, size=chosen.data.size)
    root = resolve(RuntimeConfig(data_root=chosen.data_root, mlflow_uri="none")).data_root
    dataset = load(data.name, root, data.n_classes, data.shape)
    print("\n".join(summary_lines(dataset)), flush=True)
    if chosen.list is not None:
        write_list(dataset, chosen.list.expanduser())
        print(f"list of the images: {chosen.list}")


COMMAND = Command(Images, images, __doc__, ("data-root", "data.name", "data.n-classes", "data.size", "list"))
