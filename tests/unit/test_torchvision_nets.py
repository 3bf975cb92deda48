"""The nets of torchvision as members of the zoo: stems for small images, penultimate features, a head that can go."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models import ARCHITECTURES, Net, build
from uapfp_dist.models.cnn import TABLE_1
from uapfp_dist.models.torchvision_nets import PAPER_NETS, TorchvisionNet, names
from uapfp_dist.models.training import fit
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64)]

ONE_OF_EACH_FAMILY = (
    "alexnet",
    "convnext_tiny",
    "densenet169",
    "efficientnet_b0",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "vgg13_bn",
    "vit_b_32",
    "wide_resnet50_2",
)


def inputs_of_convolutions(net: Net, images: Tensor) -> list[tuple[nn.Conv2d, torch.Size]]:
    """Every convolution in the order of their calls, and the shape of what it is given."""
    calls: list[tuple[nn.Conv2d, torch.Size]] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda module, inputs: calls.append((module, inputs[0].shape)))
    net(images)
    return calls


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PAPER_NETS)
def test_stems_suit_small_images(name: str, shape: tuple[int, int, int]) -> None:
    """A 3x3 convolution with stride 1 and no max-pool after it: the second convolution sees full resolution too."""
    net = build(name, shape, 7, 0, 0, CPU).eval()
    with torch.no_grad():
        (first, given), (_, then), *_ = inputs_of_convolutions(net, torch.zeros(1, *shape))
    assert (first.kernel_size, first.stride) == ((3, 3), (1, 1))
    assert given[2:] == then[2:] == shape[1:]


@pytest.mark.parametrize("name", PAPER_NETS)
def test_nothing_is_without_gradient(name: str) -> None:
    """No auxiliary head or other part that the loss does not reach; batches of two images are enough."""
    net = build(name, (1, 28, 28), 7, 0, 0, CPU).train()
    F.cross_entropy(net(torch.rand(2, 1, 28, 28, generator=torch_rng("images"))), torch.arange(2)).backward()
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_last_layer_gives_the_logits(name: str) -> None:
    """`last` takes the penultimate features; another layer in its place gives other classes."""
    net = build(name, (3, 16, 16), 7, 4, 0, CPU).eval()
    images = torch.rand(3, 3, 16, 16, generator=torch_rng("images"))
    net.normalise_by(images)
    with torch.no_grad():
        features = net.features(images)
        assert isinstance(net.last, nn.Linear)
        torch.testing.assert_close(net.last(features), net(images))
        assert features.shape == (3, net.last.in_features)
        net.last = nn.Linear(net.last.in_features, 2)
        torch.testing.assert_close(net(images), net.last(features))


def test_every_net_of_torchvision_is_known_and_the_papers_are_listed() -> None:
    """`in` and `[...]` know them all; iteration and errors name twelve. Segmenting and detecting nets are not known."""
    assert sorted(ARCHITECTURES) == sorted([*TABLE_1, *PAPER_NETS, "residual", "mlp"])
    assert len(ARCHITECTURES) == 12
    assert set(ONE_OF_EACH_FAMILY) <= names()
    assert all(name in ARCHITECTURES for name in names())
    for foreign in ("fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_small", "quantized_resnet18", "ResNet18", ""):
        assert foreign not in ARCHITECTURES
        with pytest.raises(UserError, match=r"A, B, C, D, E, densenet121.*vgg16, or any torchvision"):
            build(foreign, (3, 32, 32), 10, 8, 0, CPU)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_any_net_of_torchvision_is_cut_before_its_logits(name: str) -> None:
    """In shapes alone, nothing computed: features go into the last layer, one logit for each class."""
    with torch.device("meta"):
        net = TorchvisionNet(name, (1, 28, 28), 7).train()
        images = torch.empty(2, 1, 28, 28)
        assert net.features(images).shape == (2, net.last.in_features)
        assert net(images).shape == (2, 7)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "vgg11_bn", "regnet_y_400mf"])
def test_other_nets_work(name: str) -> None:
    """Training reaches every weight; responses differ from image to image."""
    net = build(name, (3, 32, 32), 4, 0, 0, CPU)
    images = torch.rand(4, 3, 32, 32, generator=torch_rng("images"))
    net.normalise_by(images)
    before = {key: parameter.clone() for key, parameter in net.named_parameters()}
    fit(net, images, torch.arange(4), Recipe("adam", 4, 4), torch_rng("order"))
    assert [key for key, parameter in net.named_parameters() if torch.equal(before[key], parameter)] == []
    with torch.no_grad():
        assert float(net(images).std(0).min()) > 0.0


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_grey_images_are_three_equal_channels(name: str) -> None:
    """One grey channel or three equal ones: the same responses."""
    grey, coloured = (build(name, (c, 16, 16), 5, 0, 0, CPU).eval() for c in (1, 3))
    images = torch.rand(4, 1, 16, 16, generator=torch_rng("images"))
    grey.normalise_by(images)
    coloured.normalise_by(images.expand(-1, 3, -1, -1))
    with torch.no_grad():
        torch.testing.assert_close(grey(images), coloured(images.expand(-1, 3, -1, -1)))


def test_a_trained_net_survives_the_store(tmp_path: Path) -> None:
    """BatchNorm's statistics and counters included: the same responses, bit for bit."""
    net = build("resnet18", (3, 8, 8), 4, 0, 0, CPU)
    images = torch.rand(16, 3, 8, 8, generator=torch_rng("images"))
    net.normalise_by(images)
    fit(net, images, torch.arange(16) % 4, Recipe("sgd", 8, 24), torch_rng("order"))
    store = Store(str(tmp_path))
    store.put("model", "net", net.state_dict(), {})
    again = build("resnet18", (3, 8, 8), 4, 0, 1, CPU).eval()
    again.load_state_dict(store.get("model", "net").tensors)
    counters = [value for key, value in again.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counters
    assert all(counter.dtype == torch.int64 and int(counter) == 3 for counter in counters)
    with torch.no_grad():
        assert torch.equal(again(images), net(images))
        assert torch.equal(copy.deepcopy(net)(images), net(images))


def test_width_means_nothing_to_them() -> None:
    """Their widths are published."""
    narrow, wide = (build("resnet18", (3, 8, 8), 4, width, 0, CPU).state_dict() for width in (1, 64))
    assert all(torch.equal(narrow[key], wide[key]) for key in narrow)


def test_building_leaves_the_global_generator_alone() -> None:
    """Random weights come from the seed only."""
    before = torch.get_rng_state()
    build("googlenet", (3, 8, 8), 4, 0, 5, CPU)
    assert torch.equal(torch.get_rng_state(), before)
