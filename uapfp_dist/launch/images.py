"""The images of a command, and what a person should know of them before anything is trained."""

import sys

from uapfp_dist.config.runtime import ResolvedPaths
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import Dataset, load
from uapfp_dist.data.summary import summary_lines


def load_images(data: DataConfig, paths: ResolvedPaths) -> Dataset:
    """The data set of a configuration; how the files of a folder were read, or what is missing, is printed to stderr.

    Raises:
        UserError: missing or damaged files; too few images; too little memory.
    """
    dataset = load(data.name, paths.data_root, data.n_classes, data.shape)
    if dataset.facts:
        print("\n".join(summary_lines(dataset)), file=sys.stderr, flush=True)
    elif dataset.note:
        print(f"{dataset.name}: {dataset.note}", file=sys.stderr, flush=True)
    return dataset
