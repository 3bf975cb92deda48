"""The precision in which nets are trained: float32, or bfloat16 by autocast, with weights in float32 all the same."""

import logging
from functools import cache

import torch

from uapfp_dist.tasks.recipe import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass; its backward follows. A device without bfloat16 emulates it, and says so once."""
    if precision == "bfloat16":
        _warn_of_emulation(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself, faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@cache
def _warn_of_emulation(device: torch.device) -> None:
    if not has_bfloat16(device):
        logging.getLogger(__name__).warning(
            "precision: expected a device that computes in bfloat16, this one emulates it: training takes up to 14 "
            "times as long as in float32 (measured on AVX2; 1.5 times on AVX-512); use float32, or workers that have it"
        )
