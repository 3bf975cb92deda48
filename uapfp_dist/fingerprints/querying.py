"""Query a model with a probe."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from uapfp_dist.data.jpeg import as_read
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, BlockKey
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.fingerprints.probe_on_device import where_it_is_built
from uapfp_dist.models.blackbox import QUERY_BATCH, check_finite, predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits


def query_images(probe: Probe, key: BlockKey, part: slice = slice(None)) -> Tensor:
    """The images (S, c, h, w) of any block, or a part of them, as a suspect is sent them.

    In 8 bits, where its API takes no more, and from JPEG files, where it takes those.
    """
    if probe.jpeg_quality is not None:
        return as_float(probe.read_from_files[key][part])
    images = uncompressed_images(probe, key, part)
    return as_float(to_8_bits(images)) if probe.round_to_8_bits else images


def uncompressed_images(probe: Probe, key: BlockKey, part: slice = slice(None)) -> Tensor:
    """The same before they are written into JPEG files; as exact as they were made."""
    if key in (CLEAN, NATURAL):
        return (probe.points if key == CLEAN else probe.natural)[part]
    block = probe.blocks[key]
    return (probe.points[block.point[part]] + block.perturbations[block.which[part]]).clamp(0.0, 1.0)


def with_files_read(probe: Probe) -> Probe:
    """The probe with what is read from the JPEG files of its images, where it has a quality of those."""
    if probe.jpeg_quality is None:
        return probe
    natural = (NATURAL,) if len(probe.natural) else ()
    keys = (CLEAN, *natural, *probe.blocks)
    read = {key: as_read(to_8_bits(uncompressed_images(probe, key)), probe.jpeg_quality) for key in keys}
    return replace(probe, read_from_files=read)


def n_query_images(probe: Probe, key: BlockKey, part: Literal["all", "test"]) -> int:
    """How many images of a block are sent: all, or the first ones, which the test views need."""
    if key == NATURAL:
        return len(probe.natural)
    gather = probe.views if key == CLEAN else probe.blocks[key].gather
    return int(gather[: probe.n_test_views if part == "test" else None].max()) + 1


def query_model(
    model: nn.Module, probe: Probe, device: torch.device, part: Literal["all", "test"] = "all"
) -> Responses:
    """Query `model` with every unique image of `probe` once; for `test` with those of the test views only.

    Those come first and in batches of their own, so that the responses are the same bits for either part. On a GPU the
    images are built there: sums, roundings and one division, which are the same bits on every device.
    """
    here = where_it_is_built(probe, device)

    def queried(key: BlockKey) -> Tensor:
        ends = (0, n_query_images(probe, key, "test"), n_query_images(probe, key, part))
        batches = [
            slice(start, min(start + QUERY_BATCH, end))
            for begin, end in pairwise(ends)
            for start in range(begin, end, QUERY_BATCH)
        ]
        found = torch.cat(
            [predict_probabilities(model, query_images(here, key, batch).to(device)) for batch in batches]
        )
        check_finite(found, "answers")
        return found

    natural = (NATURAL,) if len(probe.natural) else ()
    return Responses({key: queried(key) for key in (CLEAN, *natural, *probe.blocks)})
