"""How a suspect takes its images: layout, scale, channel order."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError


@dataclass(frozen=True)
class InputFormat:
    """How images are laid out for a suspect: 8 bits per value, as a real API gets them."""

    layout: Literal["NCHW", "NHWC", "flat"] = "NCHW"
    """Order of batch, channels, height and width; flat: one row of c*h*w values per image, channels first."""
    scale: Literal["0-1", "0-255"] = "0-1"
    """0-1: the 8-bit value k is sent as k/255; 0-255: as the integer k."""
    channels: Literal["same", "RGB", "BGR"] = "same"
    """same: as in the kit; RGB, BGR: three channels in this order, a grey one repeated."""

    def encode(self, images: Tensor) -> np.ndarray:
        """(B, c, h, w) uint8 to the suspect's array: float32 k/255, or uint8 at scale 0-255.

        Raises:
            UserError: RGB or BGR for images that have neither one channel nor three.
        """
        pixels = images.cpu().numpy()
        if self.channels != "same":
            if pixels.shape[1] not in (1, 3):
                raise UserError(
                    f"channels {self.channels}: expected images with 1 or 3 channels, the kit's have "
                    f"{pixels.shape[1]}; leave it out",
                    argument="channels",
                )
            pixels = np.repeat(pixels, 3, axis=1) if pixels.shape[1] == 1 else pixels
            pixels = pixels[:, ::-1] if self.channels == "BGR" else pixels
        if self.layout == "NHWC":
            pixels = pixels.transpose(0, 2, 3, 1)
        elif self.layout == "flat":
            pixels = pixels.reshape(len(pixels), -1)
        # The division is in float32, as for the models of the kit.
        return pixels.copy() if self.scale == "0-255" else pixels.astype(np.float32) / np.float32(255)
