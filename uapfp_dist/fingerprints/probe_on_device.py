"""A probe on the device of the model that is asked: its images are built there, none of them is sent."""

from dataclasses import replace

import torch

from uapfp_dist.acceleration import acceleration
from uapfp_dist.fingerprints.probe_data import Probe


def where_it_is_built(probe: Probe, device: torch.device) -> Probe:
    """The probe whose images a model on `device` is sent: on a GPU there, else as it is."""
    return on_device(probe, device) if acceleration(device).device_probe else probe


def on_device(probe: Probe, device: torch.device) -> Probe:
    """The same with all that images are built of on `device`; views and gathers stay."""
    blocks = {
        key: replace(block, **{name: getattr(block, name).to(device) for name in ("perturbations", "point", "which")})
        for key, block in probe.blocks.items()
    }
    return replace(probe, points=probe.points.to(device), natural=probe.natural.to(device), blocks=blocks)
