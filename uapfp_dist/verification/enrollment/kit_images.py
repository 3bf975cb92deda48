"""The images of a kit, each once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.fingerprints.querying import uncompressed_images
from uapfp_dist.pixels import to_8_bits


@dataclass(frozen=True)
class KitImages:
    """Parts of a probe's blocks as one list of images without repetition."""

    images: Tensor
    """(Q, c, h, w) uint8; of a probe whose images are read from JPEG files, before they are written into those."""
    index: dict[BlockKey, Tensor]
    """Block to (S,) int64: the images of it that are sent."""
    position: dict[BlockKey, Tensor]
    """Block to (S,) int64: where each of those stands in `images`."""
    first: dict[BlockKey, Tensor]
    """Block to (S,) bool: it stands there for the first time."""

    @staticmethod
    def of(probe: Probe, index: dict[BlockKey, Tensor]) -> "KitImages":
        """The images at `index` of each block."""
        known: dict[bytes, int] = {}
        position, first, found = {}, {}, []
        for key, rows in index.items():
            images = to_8_bits(uncompressed_images(probe, key, slice(int(rows.max()) + 1)))[rows]
            n_before = len(known)
            position[key] = torch.tensor([known.setdefault(i.numpy().tobytes(), len(known)) for i in images])
            first[key] = torch.zeros(len(images), dtype=torch.bool)
            for i, place in enumerate(position[key].tolist()):
                first[key][i] = place == n_before
                n_before += place == n_before
            found.append(images[first[key]])
        return KitImages(torch.cat(found), index, position, first)

    def gather(self, responses: Responses) -> Tensor:
        """(Q, C) one model's probabilities on these images."""
        return torch.cat([responses.blocks[key][rows][self.first[key]] for key, rows in self.index.items()])


def joined(images: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """All images and, where there are any of (K, c, h, w) uint8 among them, no second time, those.

    Returns:
        (Q', c, h, w) images, the first Q as they were, and (K,) int64: where each of the K stands.
    """
    known: dict[bytes, int] = {}
    for i, image in enumerate(images):
        known.setdefault(image.numpy().tobytes(), i)
    position, fresh = [], []
    for image in more:
        n_before = len(known)
        position.append(known.setdefault(image.numpy().tobytes(), n_before))
        if position[-1] == n_before:
            fresh.append(image)
    return torch.cat([images, torch.stack(fresh)]) if fresh else images, torch.tensor(position)
