"""The precision that `auto` stands for, settled once before anything is planned."""

import sys
from dataclasses import replace

import torch

from uapfp_dist.config.schema import Config
from uapfp_dist.models.precision import has_bfloat16


def with_precision(config: Config, gpus_per_worker: float | None = None) -> Config:
    """The configuration with the precision that `auto` means on this machine, which is printed to stderr.

    With `gpus_per_worker` 0 it is that of the CPU, whatever GPUs there are. All workers train in it: a resumed job on
    another machine must name it, as the command that `uapfp status` prints does.
    """
    if config.precision != "auto":
        return config
    device = torch.device("cuda" if torch.cuda.is_available() and gpus_per_worker != 0 else "cpu")
    found = replace(config, precision="bfloat16" if has_bfloat16(device) else "float32")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "this CPU"
    reason = "computes in it" if found.precision == "bfloat16" else "has no bfloat16"
    print(f"precision {found.precision}: {name} {reason}", file=sys.stderr, flush=True)
    return found
