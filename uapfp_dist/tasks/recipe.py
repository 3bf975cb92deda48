"""How a net is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uapfp_dist.tasks.hashing import omit_default, wire_names

Precision = Literal["float32", "bfloat16"]


@wire_names("Recipe", "optimizer batch_size samples_seen augment precision rate_scale")
@dataclass(frozen=True)
class Recipe:
    """How a net is trained (Table 1: optimizer and batch size)."""

    optimizer: str
    batch_size: int
    samples_seen: int
    """Images shown in all, repetitions counted: the same for piracy and homologous models."""
    augment: bool = omit_default(False)
    """Shift by up to an eighth of the side and mirror, on the device; not for digits, which have a handedness."""
    precision: Literal["float32", "bfloat16"] = omit_default("float32", in_files=False)
    """Of the arithmetic of training and of crafting queries; weights and responses are float32."""
    rate_scale: float = omit_default(1.0, in_files=False, printed=False)
    """Factor of the optimizer's peak learning rate."""
