"""An owner's weights: from a file, into a net of a known architecture or of the owner's own code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models import weights_file
from uapfp_dist.models.architecture_names import small_variant
from uapfp_dist.models.checkpoint import MisfitError, load_weights
from uapfp_dist.models.net import Net
from uapfp_dist.models.published import PublishedNet


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights in a safetensors file, and the SHA-256 of the file.

    Raises:
        UserError: another format, with why it is refused; no such file; torn.
    """
    if path.suffix.lower() == ".onnx":
        raise UserError(
            f"weights: expected a safetensors file, got {path.name}: an ONNX file has no gradients, and perturbations "
            "need the victim's; save the state_dict"
        )
    return weights_file.read_weights(path, "weights")


def take_weights(
    net: Net,
    weights: Mapping[str, Tensor],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    ignore_surplus: bool = False,
) -> None:
    """Load an owner's weights into `net` and set its preprocessing.

    Args:
        net: its random weights are replaced.
        weights: see `load_weights`.
        mean, std: one for all channels or one for each; None: those of the weights, else 0 and 1.
        ignore_surplus: leave out tensors that the net does not have.

    Raises:
        UserError: names, shapes or channels that do not fit; numbers that are not finite.
    """
    try:
        load_weights(net, weights, ignore_surplus=ignore_surplus)
    except MisfitError as error:
        advice = "check architecture, width, number of classes and image shape"
        if isinstance(net, PublishedNet) and (small := small_variant(net.architecture)):
            advice += f", or name {small}, which is for small images"
        if error.surplus:
            advice = "ignore them, or save the weights alone"
        raise UserError(
            f"weights: expected the tensors of this architecture in their shapes: {error}; {advice}",
            argument="ignore_surplus" if error.surplus else "zoo.width",
        ) from error
    broken = [name for name, t in net.state_dict().items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise UserError(f"weights: expected finite numbers, got NaN or infinity in {broken[0]}; check the file")
    for name, values in (("mean", mean), ("std", std)):
        buffer = getattr(net, name)
        if values is None:
            continue
        if len(values) not in (1, buffer.numel()) or (name == "std" and min(values) <= 0):
            raise UserError(
                f"{name}: expected {buffer.numel()} numbers, one per channel{' above 0' * (name == 'std')}, "
                f"got {tuple(values)}"
            )
        buffer.copy_(torch.tensor(values).view(1, -1, 1, 1))
