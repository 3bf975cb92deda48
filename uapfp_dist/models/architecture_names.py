"""Names of architectures as people say them, and as specs hold them.

In specs, whose names never change, `resnet18` is the variant for small images. In `torchvision:resnet18` and
`timm:resnet18` it is the net as its library makes it. Beside a file of weights the file decides: under `resnet18` a
state_dict of torchvision's own net is that net's, and `resnet18-small` is the variant.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from uapfp_dist.errors import UserError
from uapfp_dist.models.torchvision_nets import has_small_variant, names

LIBRARIES = ("torchvision", "timm")
SMALL = "-small"
"""Ends the name of a variant for small images."""


@dataclass(frozen=True)
class PublishedName:
    """A net as a library publishes it."""

    package: str
    name: str
    side: int | None = None
    """Of the images that it gets, whatever size they come in; None: the one it was published for."""


def is_published(architecture: str) -> bool:
    """Whether it is `torchvision:NAME` or `timm:NAME`."""
    return architecture.partition(":")[0] in LIBRARIES and ":" in architecture


def published_name(architecture: str) -> PublishedName:
    """`torchvision:NAME` or `timm:NAME`, perhaps with `@SIDE`, in its parts.

    Raises:
        UserError: something else, such as a hub of models behind the colon: nothing is ever downloaded.
    """
    found = re.fullmatch(r"(torchvision|timm):([\w.-]+?)(?:@([1-9]\d{0,3}))?", architecture, re.ASCII)
    if not found:
        raise UserError(
            f"architecture {architecture!a:.80}: expected torchvision:NAME or timm:NAME, perhaps with @SIDE, the side "
            "of the images that it takes; name one so",
            argument="architecture",
        )
    return PublishedName(found[1], found[2], int(found[3]) if found[3] else None)


def architecture_of_file(name: str, keys: Collection[str]) -> str:
    """What a name says of a file of weights: the name as specs hold it.

    Args:
        name: as it was given.
        keys: names of the tensors in the file.
    """
    variant = name.removesuffix(SMALL)
    if variant != name and has_small_variant(variant):
        return variant
    if name.partition("@")[0] in names() and not _saved_here(keys):
        return f"torchvision:{name}"
    return name


def small_variant(architecture: str) -> str:
    """For an error: the name of the variant for small images of one of torchvision's own, else empty."""
    library, _, name = architecture.partition(":")
    name = name.partition("@")[0]
    return f"{name}{SMALL}" if library == LIBRARIES[0] and has_small_variant(name) else ""


def _saved_here(keys: Collection[str]) -> bool:
    """Whether they are those of a net of ours: a body, and the last layer apart from it."""
    parts = [key.split(".") for key in keys]
    return any("backbone" in one[:-1] for one in parts) and any(one[-2:] == ["last", "weight"] for one in parts)
