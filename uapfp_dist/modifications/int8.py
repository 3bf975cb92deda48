"""INT8: convolutions and linear layers in 8-bit integers (Jacob et al., CVPR 2018; paper Section 5.4, protocol 2.15).

Weights per output channel, symmetric; activations per tensor, affine, with ranges measured beforehand (static
quantisation). Every layer has float inputs and outputs and is integer inside: inputs are rounded to integers,
multiplied and summed as integers, and the sum is rounded to 8 bits again. Between the layers all stays in float.
"""

import copy
from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.tasks.modification_specs import Int8

WEIGHT_MAX = 127
INPUT_MAX = 127
"""Not 255: processors without VNNI add two products in 16 bits, which saturates beyond (torch's own default for x86
leaves that bit unused as well). With it one model would respond differently on two machines."""
OUTPUT_MAX = 255
BITS = (
    "INT8: weights in 8 bits; a layer's inputs in 7 of 8 (0 to 127), because integer kernels of processors without "
    "VNNI add pairs of products in 16 bits, which 8 would overflow: one model would answer differently on two "
    "machines; its outputs in 8."
)
"""For a reader of results."""
CALIBRATION_BATCH = 100

Operands = tuple[Any, ...]
"""Arguments of an integer kernel beside its input, with the weights in its own layout."""
Range = tuple[float, float]
"""(least, largest)."""


def quantise(net: Net, spec: Int8, attacker: AttackerContext) -> Net:
    """`net` in INT8, with ranges measured on `spec.n_images` of ATTACK (all, if there are fewer).

    Raises:
        UserError: no images, a convolution that pads with anything but zeros, or a layer whose weights are used
            without calling it.
    """
    if spec.n_images < 1:
        raise UserError(f"INT8: expected at least 1 image to measure ranges on, got {spec.n_images}")
    images = attacker.data.images
    drawn = torch.randperm(len(images), generator=attacker.rng)[: spec.n_images]
    ranges = _measure(net, images[drawn.to(images.device)])
    quantised = int8_structure(net)
    for name, module in quantised.named_modules():
        if isinstance(module, Int8Layer):
            layer = net.get_submodule(name)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            if layer not in ranges:
                raise UserError(
                    f"INT8: expected every layer to be called by the net, {name} of {type(net).__name__} is not; "
                    "choose another architecture"
                )
            module.quantise_from(layer, *ranges[layer])
    return quantised


def int8_structure(net: Net) -> Net:
    """A copy of a float net with INT8 layers, ready for the state dict of such a net; nothing in it can be trained."""
    quantised = copy.deepcopy(net)
    for parent in list(quantised.modules()):
        for name, child in parent.named_children():
            # Not their subclasses: attention reads the weights of its own past their forward.
            if type(child) is nn.Conv2d:
                setattr(parent, name, Int8Conv2d(child))
            elif type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
    return quantised.requires_grad_(False).eval()


def is_int8(net: nn.Module) -> bool:
    """Whether a net has INT8 layers."""
    return any(isinstance(module, Int8Layer) for module in net.modules())


class Int8Layer(nn.Module):
    """A layer in 8-bit integers: by integer kernels on a CPU that has oneDNN, the same arithmetic in floats elsewhere.

    The float arithmetic is that of integers: products and sums below 2^24 are exact in it.
    """

    channel_shape: ClassVar[tuple[int, ...]]
    """In which a number per output channel meets an output, whatever its other dimensions are."""
    weight: Tensor
    """(out, ...) int8 in [-127, 127]."""
    weight_scale: Tensor
    """(out,) float32: the value of one step of each output channel's weights."""
    input_scale: Tensor
    """() float32, as the following two."""
    input_zero: Tensor
    """() int32: the integer that stands for 0.0."""
    output_scale: Tensor
    output_zero: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        weight, device = layer.weight, layer.weight.device
        self.register_buffer("weight", torch.zeros_like(weight, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(len(weight), device=device))
        # A parameter, and there for every layer: a net's device is read from its parameters.
        self.bias = nn.Parameter(torch.zeros(len(weight), device=device), requires_grad=False)
        for side in ("input", "output"):
            self.register_buffer(f"{side}_scale", torch.ones((), device=device))
            self.register_buffer(f"{side}_zero", torch.zeros((), dtype=torch.int32, device=device))
        self._packed: Operands | None = None
        self.register_load_state_dict_post_hook(_unpack)

    @torch.no_grad()
    def quantise_from(self, layer: nn.Conv2d | nn.Linear, inputs: Range, outputs: Range) -> None:
        """Quantise `layer`, whose inputs and outputs lie in these ranges."""
        weight = torch.nan_to_num(layer.weight)
        largest = weight.flatten(1).abs().amax(1)
        self.weight_scale.copy_(torch.where(largest > 0, largest / WEIGHT_MAX, 1.0))
        scale = self.weight_scale.view(-1, *[1] * (weight.dim() - 1))
        self.weight.copy_((weight / scale).round().clamp(-WEIGHT_MAX, WEIGHT_MAX))
        if layer.bias is not None:
            self.bias.copy_(layer.bias)
        for side, limits, steps in (("input", inputs, INPUT_MAX), ("output", outputs, OUTPUT_MAX)):
            step, zero = affine(*limits, steps)
            getattr(self, f"{side}_scale").fill_(step)
            getattr(self, f"{side}_zero").fill_(zero)
        _unpack(self)

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer, to 8 bits."""
        q = (x / self.input_scale).round_().add_(self.input_zero).clamp_(0, INPUT_MAX)
        if x.device.type == "cpu" and torch.backends.mkldnn.is_available():
            if self._packed is None:
                self._packed = self._pack()
            y = self._integer(q.to(torch.uint8), *self._packed).float()
        else:
            y = self._simulated(q.sub_(self.input_zero))
        return y.sub_(self.output_zero).mul_(self.output_scale)

    def _simulated(self, centred: Tensor) -> Tensor:
        """Integers, as floats, in [0, 255], from inputs less their zero point."""
        total, channel = self._sum(centred, self.weight.float()), self.channel_shape
        y = total * (self.weight_scale * self.input_scale).view(channel) + self.bias.view(channel)
        return (y / self.output_scale).round_().add_(self.output_zero).clamp_(0, OUTPUT_MAX)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    def _affine(self) -> tuple[tuple[float, int], tuple[Any, ...]]:
        """Scale and zero point of the input; of the output, with its type and that no activation follows."""
        inputs = float(self.input_scale), int(self.input_zero)
        return inputs, (float(self.output_scale), int(self.output_zero), torch.uint8, "none", [], "")

    def _channels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per output channel: scale and zero point of the weights, and the bias."""
        return self.weight_scale, torch.zeros_like(self.weight_scale, dtype=torch.int32), self.bias

    @abstractmethod
    def _pack(self) -> Operands:
        """For `_integer`."""

    @abstractmethod
    def _integer(self, q: Tensor, *packed: Any) -> Tensor:
        """uint8 in and out, by an integer kernel."""

    @abstractmethod
    def _sum(self, centred: Tensor, weight: Tensor) -> Tensor:
        """The float layer without its bias."""


class Int8Conv2d(Int8Layer):
    """Replaces a convolution."""

    channel_shape: ClassVar[tuple[int, ...]] = (-1, 1, 1)

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise UserError(
                "INT8: expected convolutions that pad with a number of zeros, got padding "
                f"{layer.padding!r} of {layer.padding_mode!r}; choose another architecture"
            )
        self.geometry = (list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups)

    def _pack(self) -> Operands:
        inputs, outputs = self._affine()
        packed = torch.ops.onednn.qconv_prepack(self.weight, self.weight_scale, *inputs, *self.geometry, None)
        return (*inputs, packed, *self._channels(), *self.geometry, *outputs)

    def _integer(self, q: Tensor, *packed: Any) -> Tensor:
        return torch.ops.onednn.qconv_pointwise(q, *packed)  # type: ignore[no-any-return]

    def _sum(self, centred: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(centred, weight, None, *self.geometry)


class Int8Linear(Int8Layer):
    """Replaces a linear layer, whose channels stand last: of maps (B, h, w, c) too, as nets like ConvNeXt give it."""

    channel_shape: ClassVar[tuple[int, ...]] = (-1,)

    def _pack(self) -> Operands:
        inputs, outputs = self._affine()
        packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        return (*inputs, packed, *self._channels(), *outputs)

    def _integer(self, q: Tensor, *packed: Any) -> Tensor:
        return torch.ops.onednn.qlinear_pointwise(q, *packed)  # type: ignore[no-any-return]

    def _sum(self, centred: Tensor, weight: Tensor) -> Tensor:
        return F.linear(centred, weight)


def affine(least: float, largest: float, steps: int) -> tuple[float, int]:
    """(value of one step, integer that stands for 0.0) for values in [least, largest], extended to include 0."""
    least, largest = min(least, 0.0), max(largest, 0.0)
    step = (largest - least) / steps or 1.0
    return step, round(-least / step)


def _unpack(layer: nn.Module, _: object = None) -> None:
    layer._packed = None  # type: ignore[assignment]


@torch.no_grad()
def _measure(net: Net, images: Tensor) -> dict[nn.Module, tuple[Range, Range]]:
    """Each convolution and linear layer that `images` pass through to the ranges of its inputs and outputs."""
    observed: dict[nn.Module, list[Tensor]] = {}

    def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        limits = torch.stack([*args[0].aminmax(), *output.aminmax()])
        observed.setdefault(layer, []).append(torch.nan_to_num(limits))

    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        for batch in images.split(CALIBRATION_BATCH):
            net(batch)
    finally:
        for hook in hooks:
            hook.remove()
    ranges = {}
    for layer, batches in observed.items():
        limits = torch.stack(batches)
        least, largest = limits.amin(0).tolist(), limits.amax(0).tolist()
        ranges[layer] = (least[0], largest[1]), (least[2], largest[3])
    return ranges
