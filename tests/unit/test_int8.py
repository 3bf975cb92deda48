"""INT8: integer arithmetic, the same responses in both implementations, a complete state dict."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import batched_outputs, predict_probabilities
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import AttackerData, int8_structure, is_int8, modify
from uapfp_dist.modifications.int8 import BITS, INPUT_MAX, OUTPUT_MAX, Int8Conv2d, Int8Layer, Int8Linear, affine
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, ModificationSpec, Prune
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe("adam", 64, 640)
LARGE = ("densenet121", "vgg16", "googlenet", "mobilenet_v2")


@pytest.fixture(scope="session")
def data(own: Tensor) -> AttackerData:
    """Images alone: labels are no matter here."""
    return AttackerData(own, torch.zeros(len(own), dtype=torch.int64), own)


@pytest.fixture(scope="session")
def quantised(victim: Net, data: AttackerData) -> Net:
    """The victim in INT8."""
    return modify(victim, Int8(), data, RECIPE, torch_rng(0))


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without oneDNN: the arithmetic of other devices."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)


def simulated(net: nn.Module, images: Tensor) -> Tensor:
    """Responses in the arithmetic of other devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        return predict_probabilities(net, images)


def taken(float_layer: nn.Conv2d | nn.Linear, x: Tensor) -> Int8Layer:
    """`float_layer` in INT8 with the ranges of `x`."""
    y = float_layer(x)
    int8 = Int8Conv2d(float_layer) if isinstance(float_layer, nn.Conv2d) else Int8Linear(float_layer)
    int8.quantise_from(float_layer, (float(x.min()), float(x.max())), (float(y.min()), float(y.max())))
    return int8


CONVOLUTIONS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2, "bias": False},
    {"kernel_size": (3, 1), "padding": (2, 0), "dilation": (2, 1)},
    {"kernel_size": 5, "groups": 4},
    {"kernel_size": 1, "stride": (1, 2)},
]


@torch.no_grad()
def reference(int8: Int8Layer, x: Tensor) -> Tensor:
    """Slow and in 64-bit integers: round, multiply and sum as integers, scale, round again."""
    input_scale, output_scale = float(int8.input_scale), float(int8.output_scale)
    q = [round(v / input_scale) + int(int8.input_zero) for v in x.flatten().tolist()]
    centred = torch.tensor([min(max(v, 0), 127) - int(int8.input_zero) for v in q]).view(x.shape)
    if isinstance(int8, Int8Conv2d):
        stride, padding, dilation, groups = int8.geometry
        total = F.conv2d(centred, int8.weight.long(), None, stride, padding, dilation, groups).movedim(1, -1)
    else:
        total = centred @ int8.weight.long().T
    real = total.double() * int8.weight_scale.double() * input_scale + int8.bias.double()
    y = ((real / output_scale).round() + int(int8.output_zero)).clamp(0, 255)
    y = (y - int(int8.output_zero)) * output_scale
    return (y.movedim(-1, 1) if isinstance(int8, Int8Conv2d) else y).float()


def int8_layers(case: int) -> tuple[nn.Conv2d | nn.Linear, Tensor]:
    """A float layer and inputs for it; the last case is linear."""
    rng = torch_rng("layer", case)
    if case == len(CONVOLUTIONS):
        float_layer: nn.Conv2d | nn.Linear = nn.Linear(40, 7)
        x = torch.randn(6, 40, generator=rng)
    else:
        float_layer = nn.Conv2d(4, 8, **CONVOLUTIONS[case])  # type: ignore[arg-type]
        x = torch.randn(3, 4, 7, 6, generator=rng)
    for parameter in float_layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng)
    return float_layer.requires_grad_(False), x


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS) + 1))
@pytest.mark.parametrize("beyond", [1.0, 3.0], ids=["in range", "beyond the range"])
def test_both_arithmetics_are_those_of_integers(case: int, beyond: float) -> None:
    """Up to one step in the last rounding, also where inputs and outputs saturate; near the float layer where not."""
    float_layer, x = int8_layers(case)
    int8, x_seen = taken(float_layer, x), x
    x = beyond * x_seen
    wanted = reference(int8, x)
    step = float(int8.output_scale)
    with pytest.MonkeyPatch.context() as patch:
        kernel = int8(x)
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        floats = int8(x)
    for found in (kernel, floats):
        assert found.shape == wanted.shape
        assert float((found - wanted).abs().max()) < 1.01 * step
        assert float(((found - wanted).abs() > 0.01 * step).double().mean()) < 0.005
    if beyond == 1.0:
        error = (kernel - float_layer(x)).abs()
        assert float(error.mean()) < 0.02 * float(float_layer(x).std())
        assert len(kernel.unique()) > min(100, kernel.numel() // 2)


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 7, 3, 8), (2, 6, 3, 8), (2, 1, 1, 8)], ids=str)
def test_channels_of_a_linear_layer_stand_last(shape: tuple[int, ...]) -> None:
    """Of sequences and of maps as well, in both arithmetics: also where a side is as long as there are channels."""
    float_layer = nn.Linear(8, 6).requires_grad_(False)
    float_layer.weight.data = torch.randn(6, 8, generator=torch_rng("weights")) * torch.logspace(-2, 1, 6)[:, None]
    x = torch.randn(shape, generator=torch_rng("x"))
    int8 = taken(float_layer, x)
    wanted, step = reference(int8, x), float(int8.output_scale)
    with pytest.MonkeyPatch.context() as patch:
        kernel = int8(x)
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        floats = int8(x)
    for found in (kernel, floats):
        assert found.shape == wanted.shape == (*shape[:-1], 6)
        assert float((found - wanted).abs().max()) < 1.01 * step


def test_weights_are_quantised_per_channel() -> None:
    """Row by row: the largest weight is 127 steps, every weight the nearest integer; a row of zeros stays zero."""
    weight = torch.randn(5, 6, generator=torch_rng("weights")) * torch.tensor([1e-3, 0.1, 1.0, 50.0, 0.0])[:, None]
    linear = nn.Linear(6, 5).requires_grad_(False)
    linear.weight.data = weight
    int8 = taken(linear, torch.rand(4, 6, generator=torch_rng("x")))
    for row, scale, integers in zip(weight.tolist(), int8.weight_scale.tolist(), int8.weight.tolist(), strict=True):
        largest = max(abs(w) for w in row)
        assert scale == pytest.approx(largest / 127 if largest else 1.0, rel=1e-6)
        assert integers == [round(w / scale) for w in row]
        assert max(abs(i) for i in integers) == (127 if largest else 0)


@pytest.mark.parametrize(
    ("least", "largest", "steps", "zero"),
    [(0.0, 1.0, 127, 0), (0.5, 2.0, 255, 0), (-1.0, 0.0, 127, 127), (-3.0, -1.0, 255, 255), (-1.0, 3.0, 255, 64)],
)
def test_ranges_take_in_zero(least: float, largest: float, steps: int, zero: int) -> None:
    """Padding is zero: it must be an integer. The ends of the range are the ends of the integers, to half a step."""
    step, found = affine(least, largest, steps)
    assert found == zero
    assert step == pytest.approx((max(largest, 0.0) - min(least, 0.0)) / steps)
    for value in (least, largest):
        assert -0.5 <= value / step + found <= steps + 0.5
    assert affine(0.0, 0.0, steps) == (1.0, 0)


def test_integer_kernels_run(victim: Net, quantised: Net, held_out: Tensor) -> None:
    """As the profiler sees it: one integer kernel per layer, and no convolution or product of floats."""

    def seen(net: Net) -> dict[str, int]:
        with profile(activities=[ProfilerActivity.CPU]) as run:
            predict_probabilities(net, held_out)
        return {event.key: event.count for event in run.key_averages()}

    n_layers = {kind: sum(type(m) is kind for m in victim.modules()) for kind in (nn.Conv2d, nn.Linear)}
    float_run, int8_run = seen(victim), seen(quantised)
    assert int8_run["onednn::qconv_pointwise"] == n_layers[nn.Conv2d] == 2
    assert int8_run["onednn::qlinear_pointwise"] == n_layers[nn.Linear] == 2
    of_floats = {"aten::conv2d", "aten::linear", "aten::addmm", "aten::mm", "aten::convolution"}
    assert of_floats & float_run.keys()
    assert not of_floats & int8_run.keys()


def test_simulation_runs_without_kernels(quantised: Net, held_out: Tensor, without_kernels: None) -> None:
    """The check above can fail."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        predict_probabilities(quantised, held_out)
    assert not any(event.key.startswith("onednn::") for event in run.key_averages())


@pytest.mark.parametrize("name", [*"ABCDE", "residual", "mlp"])
def test_both_arithmetics_answer_alike(name: str, data: AttackerData, held_out: Tensor) -> None:
    """In label on 99 % of the images; and INT8 agrees with float on nearly as many."""
    net = build(name, (1, 8, 8), 10, 8, 1, CPU)
    net.normalise_by(data.images)
    targets = (data.images.flatten(1) @ torch.randn(64, 10, generator=torch_rng("clusters"))).argmax(1)
    fit(net, data.images, targets, Recipe("adam", 64, 6000), torch_rng("order"))
    int8 = modify(net, Int8(), data, RECIPE, torch_rng(0))
    everything = torch.cat([data.images, held_out])
    labels = [
        responses.argmax(1) for responses in (predict_probabilities(int8, everything), simulated(int8, everything))
    ]
    assert float((labels[0] == labels[1]).double().mean()) >= 0.99
    assert float((labels[0] == predict_probabilities(net, everything).argmax(1)).double().mean()) >= 0.95


def test_accuracy_falls_little(victim: Net, quantised: Net, held_out: Tensor, held_out_labels: Tensor) -> None:
    """At most two points; and the responses are not those of the float net."""
    right = [
        (predict_probabilities(net, held_out).argmax(1) == held_out_labels).double().mean()
        for net in (victim, quantised)
    ]
    assert right[1] > right[0] - 0.02
    assert not torch.equal(predict_probabilities(victim, held_out), predict_probabilities(quantised, held_out))


@pytest.mark.parametrize(
    "name",
    ["resnet18", "residual", "mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)],
)
def test_every_architecture_can_be_quantised(name: str) -> None:
    """Layer for layer, groups and all: each gives about what the float layer gives for the same input."""
    shape = (3, 16, 16)
    net = build(name, shape, 10, 4, 0, CPU).eval()
    n = 2 if name == "mobilenet_v2" else 8  # which sees 224 x 224
    images = torch.rand(n, *shape, generator=torch_rng("images"))
    for module in net.modules():  # random weights let the signal fade: what BatchNorm sees, it normalises
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
    int8 = modify(net, Int8(), AttackerData(images, torch.zeros(n, dtype=torch.int64), images), RECIPE, torch_rng(0))
    counts = [sum(isinstance(m, nn.Conv2d | nn.Linear | Int8Layer) for m in model.modules()) for model in (net, int8)]
    assert counts[0] == counts[1]
    assert not any(isinstance(m, nn.Conv2d | nn.Linear) for m in int8.modules())
    twins = dict(net.eval().named_modules())
    errors = []

    def compare(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], found: Tensor) -> None:
            wanted = twins[path](args[0])
            errors.append(float((found - wanted).abs().mean() / wanted.std()))

        return hook

    for path, module in int8.named_modules():
        if isinstance(module, Int8Layer):
            module.register_forward_hook(compare(path))
    predict_probabilities(int8, images)
    assert len(errors) == counts[1]
    assert max(errors) < 0.2
    assert sum(errors) / len(errors) < 0.05
    rebuilt = int8_structure(build(name, shape, 10, 4, 1, CPU))
    rebuilt.load_state_dict(int8.state_dict())
    assert torch.equal(predict_probabilities(rebuilt, images), predict_probabilities(int8, images))


def test_the_file_holds_int8(quantised: Net, victim: Net, held_out: Tensor, tmp_path: Path) -> None:
    """Weights of one byte on disk, a quarter of the float file; a net that was queried before takes the new weights."""
    store = Store(str(tmp_path))
    store.put("model", "int8", quantised.state_dict(), {})
    store.put("model", "float", victim.state_dict(), {})
    raw = Path(store.path("model", "int8")).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    for name, module in victim.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert header[f"{name}.weight"]["dtype"] == "I8"
            assert header[f"{name}.weight"]["shape"] == list(module.weight.shape)
            begin, end = header[f"{name}.weight"]["data_offsets"]
            assert end - begin == math.prod(module.weight.shape)
    fresh = int8_structure(build("A", (1, 8, 8), 10, 8, 3, CPU))
    before = predict_probabilities(fresh, held_out)
    fresh.load_state_dict(store.get("model", "int8").tensors)
    assert torch.equal(predict_probabilities(fresh, held_out), predict_probabilities(quantised, held_out))
    assert not torch.equal(predict_probabilities(fresh, held_out), before)
    assert torch.equal(
        predict_probabilities(copy.deepcopy(fresh), held_out), predict_probabilities(quantised, held_out)
    )


def test_answers_are_the_same_bits(quantised: Net, held_out: Tensor) -> None:
    """In every batch size and order: sums of integers know no rounding."""
    responses = predict_probabilities(quantised, held_out)
    few = [predict_probabilities(quantised, part) for part in held_out.split(7)]
    assert torch.equal(torch.cat(few), responses)
    assert torch.equal(predict_probabilities(quantised, held_out.flip(0)).flip(0), responses)
    assert torch.equal(quantised.head(batched_outputs(quantised, held_out, "features")).softmax(1), responses)


def test_ranges_come_from_so_many_images_by_chance(victim: Net, data: AttackerData) -> None:
    """Of the images that the attacker has; more images can only widen them."""

    def spans(n_images: int, seed: int) -> Tensor:
        net = modify(victim, Int8(n_images), data, RECIPE, torch_rng(seed))
        return torch.stack([m.input_scale for m in net.modules() if isinstance(m, Int8Layer)])

    assert not torch.equal(spans(5, 0), spans(5, 1))
    assert bool((spans(5, 0) <= spans(10**6, 0)).all())
    assert torch.equal(spans(10**6, 0), spans(len(data.images), 1))


@pytest.mark.parametrize(
    "modification", [FineTune(), FineTune(layers="last"), Prune(0.4), Int8(), AdversarialTraining(1)], ids=str
)
def test_int8_is_the_last_modification(modification: ModificationSpec, quantised: Net, data: AttackerData) -> None:
    assert is_int8(quantised)
    assert not any(parameter.requires_grad for parameter in quantised.parameters())
    with pytest.raises(
        UserError, match=r"expected a net in float, got one in INT8; let INT8 be the last modification$"
    ):
        modify(quantised, modification, data, RECIPE, torch_rng(0))


def test_int8_can_still_teach(quantised: Net, data: AttackerData) -> None:
    """Distillation needs responses alone, and gives a float net."""
    assert not is_int8(modify(quantised, Distill(), data, RECIPE, torch_rng(0), build("C", (1, 8, 8), 10, 4, 0, CPU)))


def test_what_cannot_be_integer_is_refused(victim: Net, data: AttackerData) -> None:
    """In one line, before anything is answered wrongly."""
    mirrored = copy.deepcopy(victim)
    mirrored.convolutions[0].padding_mode = "reflect"  # type: ignore[index, union-attr]
    with pytest.raises(UserError, match=r"pad with a number of zeros, got padding .* of 'reflect'"):
        modify(mirrored, Int8(), data, RECIPE, torch_rng(0))
    unused = copy.deepcopy(victim)
    unused.spare = nn.Linear(2, 2)
    with pytest.raises(UserError, match="every layer to be called by the net, spare of Cnn is not"):
        modify(unused, Int8(), data, RECIPE, torch_rng(0))


def test_a_reader_is_told_how_many_bits() -> None:
    """What stands beside the result is what the arithmetic does."""
    assert f"in 7 of 8 (0 to {INPUT_MAX})" in BITS
    assert (INPUT_MAX + 1, OUTPUT_MAX + 1) == (2**7, 2**8)
