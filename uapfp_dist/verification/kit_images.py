"""The images of a kit, each once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.fingerprints.querying import query_images, to_8_bits


@dataclass(frozen=True)
class _Images:
    """Parts of a probe's blocks as one list of images without repetition."""

    images: Tensor
    """(Q, c, h, w) uint8."""
    index: dict[BlockKey, Tensor]
    """Block to (S,) int64: the images of it that are sent."""
    places: dict[BlockKey, Tensor]
    """Block to (S,) int64: where each of those lies."""
    new: dict[BlockKey, Tensor]
    """Block to (S,) bool: it stands there for the first time."""

    @staticmethod
    def of(probe: Probe, index: dict[BlockKey, Tensor]) -> "_Images":
        """The images at `index` of each block."""
        known: dict[bytes, int] = {}
        places, first, found = {}, {}, []
        for name, rows in index.items():
            images = to_8_bits(query_images(probe, name, slice(int(rows.max()) + 1)))[rows]
            keys = [image.numpy().tobytes() for image in images]
            before = len(known)
            places[name] = torch.tensor([known.setdefault(key, len(known)) for key in keys])
            first[name] = torch.zeros(len(keys), dtype=torch.bool)
            for i, place in enumerate(places[name].tolist()):
                first[name][i] = place == before
                before += place == before
            found.append(images[first[name]])
        return _Images(torch.cat(found), index, places, first)

    def gather(self, answers: Responses) -> Tensor:
        """(Q, C) one model's probabilities on these images."""
        return torch.cat([answers.blocks[name][rows][self.new[name]] for name, rows in self.index.items()])
