"""Classifiers of images: architectures, training, queries."""

from uapfp_dist.models.net import Net
from uapfp_dist.models.registry import ARCHITECTURES, build

__all__ = ["ARCHITECTURES", "Net", "build"]
