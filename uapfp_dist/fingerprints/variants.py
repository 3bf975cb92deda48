"""Small random changes of images: rotation, shift, zoom."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.tasks.method_configs import ChurnConfig


@dataclass(frozen=True)
class Variants:
    """One change for each of N images."""

    matrices: Tensor
    """(N, 2, 3) float32: from a pixel of a changed square image to where it lies in the image, both in [-1, 1]."""

    @staticmethod
    def draw(n: int, config: ChurnConfig, rng: torch.Generator) -> "Variants":
        """For `n` images, each number uniform up to the largest of `config`."""
        uniform = torch.rand(n, 4, generator=rng) * 2 - 1
        angle = uniform[:, 0] * math.radians(config.rotation)
        scale = 1 + uniform[:, 1] * config.zoom
        shift = uniform[:, 2:] * config.shift * 2  # a side is 2 long here
        cos, sin = angle.cos() / scale, angle.sin() / scale
        mirrored = torch.rand(n, generator=rng) < 0.5
        flip = torch.where(mirrored & config.mirror, -1.0, 1.0)
        rows = torch.stack([cos * flip, -sin, shift[:, 0], sin * flip, cos, shift[:, 1]], dim=1)
        return Variants(rows.view(n, 2, 3))

    def apply(self, images: Tensor, part: slice | Tensor) -> Tensor:
        """The images (B, c, h, w) in [0, 1] of `part` of the N, changed: bilinear, pixels beyond an edge as the edge.

        On the CPU, so that every device gets the same bits.
        """
        images = images.cpu()
        height, width = images.shape[2:]
        # Half a side is 1 for either side: a rotation keeps the shape of what is not square only with their ratio.
        ratio = torch.tensor([[1.0, height / width, 1.0], [width / height, 1.0, 1.0]])
        grid = F.affine_grid(self.matrices[part] * ratio, list(images.shape), align_corners=False)
        changed = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return changed.clamp(0.0, 1.0)
