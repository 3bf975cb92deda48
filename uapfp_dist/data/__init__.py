"""Data sets and who may see which image."""

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.registry import DATASETS, load
from uapfp_dist.data.splits import Splits, make_splits

__all__ = ["DATASETS", "Dataset", "Splits", "load", "make_splits"]
