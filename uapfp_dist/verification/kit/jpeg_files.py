"""The JPEG files of a kit's images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class JpegFiles:
    """Q files one after another; L bytes in all."""

    data: Tensor
    """(L,) uint8."""
    ends: Tensor
    """(Q,) int64: where each file ends."""

    @staticmethod
    def of(files: Sequence[bytes]) -> "JpegFiles":
        """These."""
        data = torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8)
        return JpegFiles(data, torch.tensor([len(file) for file in files]).cumsum(0))

    def files(self) -> list[bytes]:
        """Each file."""
        data, ends = self.data.numpy().tobytes(), self.ends.tolist()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
