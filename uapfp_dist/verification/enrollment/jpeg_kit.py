"""A kit of JPEG files."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from uapfp_dist.data.jpeg import jpeg_files, jpeg_pixels
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.querying import uncompressed_images
from uapfp_dist.pixels import to_8_bits
from uapfp_dist.verification.enrollment.responses import EnrolledResponses
from uapfp_dist.verification.kit.jpeg_files import JpegFiles
from uapfp_dist.verification.kit.kit import Kit


def of_files(kit: Kit, quality: int, enrolled: EnrolledResponses) -> Kit:
    """The kit with a file of each image, and what is read from it as the image.

    Args:
        kit: its images are not compressed yet.
        quality: of the files.
        enrolled: what its models were asked.

    Raises:
        UserError: they were asked other pixels than are read here.
    """
    files = jpeg_files(kit.images, quality)
    images = jpeg_pixels(files)
    read = {source.numpy().tobytes(): image for source, image in zip(kit.images, images, strict=True)}
    for sources, asked in _asked(enrolled):
        for source, image in zip(sources, asked, strict=True):
            here = read.get(source.numpy().tobytes())
            if here is not None and not torch.equal(here, image):
                raise UserError(
                    "jpeg_quality: expected the pixels that the workers read from JPEG files, this machine reads "
                    "others; install the same version of Pillow on all of them",
                    argument="jpeg_quality",
                )
    info = replace(kit.info, jpeg_quality=quality)
    return replace(kit, images=images, jpeg=JpegFiles.of(files), info=info)


def _asked(enrolled: EnrolledResponses) -> Iterator[tuple[Tensor, Tensor]]:
    """Images before compression, and what models were asked in their place."""
    for key, read in enrolled.probe.read_from_files.items():
        yield to_8_bits(uncompressed_images(enrolled.probe, key)), read
    if enrolled.churn is not None and (sources := enrolled.churn.points.sources) is not None:
        yield sources, enrolled.churn.points.images
    if enrolled.exact is not None and (sources := enrolled.exact.pool.sources) is not None:
        yield sources, enrolled.exact.pool.images
