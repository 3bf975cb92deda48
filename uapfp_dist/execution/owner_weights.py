"""An owner's weights, read without pickle, for a known architecture or a module of the owner's own code."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.models.net import Net

MOST_BYTES = 4 * 2**30
"""Of a file of weights."""
REFUSED = {
    ".onnx": "an ONNX file has no gradients, and perturbations need the victim's",
    **dict.fromkeys((".pt", ".pth", ".bin", ".pkl", ".ckpt"), "such a file may be a pickle, which runs code when read"),
}
"""File endings to why they are not read."""


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights in a safetensors file, and the SHA-256 of the file.

    Raises:
        UserError: another format, with why it is refused; no such file; torn.
    """
    if why := REFUSED.get(path.suffix.lower()):
        raise UserError(f"weights: expected a safetensors file, got {path.name}: {why}; save the state_dict again")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"weights: expected at most {MOST_BYTES >> 30} GiB in {path.name}, got {size >> 30} GiB")
        raw = path.read_bytes()
        tensors: dict[str, Tensor] = load_tensors(raw)
    except (OSError, SafetensorError, ValueError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"weights: expected a safetensors file at {path} ({cause}); save the state_dict anew"
        ) from error
    return tensors, hashlib.sha256(raw).hexdigest()


def take_weights(
    net: Net, weights: Mapping[str, Tensor], mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Load an owner's weights into `net` and set its preprocessing.

    Raises:
        UserError: names, shapes or channels that do not fit; numbers that are not finite.
    """
    target: nn.Module = net.module if isinstance(net, CustomNet) else net
    own = target.state_dict()
    given = dict(weights)
    if not isinstance(net, CustomNet):  # without preprocessing of their own: images in [0, 1] as they are
        given = {name: own[name] for name in ("mean", "std") if name not in given} | given
    odd = sorted(own.keys() ^ given.keys()) or sorted(n for n in own if own[n].shape != given[n].shape)
    if odd:
        listed = ", ".join(odd[:4]) + (" ..." if len(odd) > 4 else "")
        raise UserError(
            f"weights: expected the {len(own)} tensors of this architecture in their shapes, {len(odd)} differ "
            f"({listed}); check architecture, width, number of classes and image shape",
            argument="zoo.width",
        )
    broken = [name for name, tensor in given.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(f"weights: expected finite numbers, got NaN or infinity in {broken[0]}; check the file")
    target.load_state_dict(given)
    for name, values in (("mean", mean), ("std", std)):
        buffer = getattr(net, name)
        if values is None:
            continue
        if len(values) != buffer.numel() or (name == "std" and min(values) <= 0):
            raise UserError(
                f"{name}: expected {buffer.numel()} numbers, one per channel{' above 0' * (name == 'std')}, "
                f"got {tuple(values)}"
            )
        buffer.copy_(torch.tensor(values).view_as(buffer))
