"""Nets as torchvision and timm publish them, by name beside a file of weights; ids of the older variants stay."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from small_enrollment import small_plan
from system import context_on
from torch import Tensor, nn
from toy_suspects import IMAGES, SHAPE, query

import uapfp_dist as ufp
from uapfp_dist.data import Dataset, Splits
from uapfp_dist.errors import UserError
from uapfp_dist.models import ARCHITECTURES, Net, build
from uapfp_dist.models.architecture_names import architecture_of_file, is_published, published_name
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.checkpoint import MisfitError, load_weights
from uapfp_dist.models.custom import is_import_path
from uapfp_dist.models.published import PublishedNet
from uapfp_dist.models.torchvision_nets import TorchvisionNet, has_small_variant, names
from uapfp_dist.modifications.int8 import int8_structure, is_int8
from uapfp_dist.rng import seeded
from uapfp_dist.storage.store import Store
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.verification.enrollment.owner_model import read_owner_model

CPU = torch.device("cpu")


def torchvisions(name: str = "resnet18", seed: int = 0, n_classes: int = 10) -> nn.Module:
    """The library's own net."""
    with seeded(seed, CPU):
        return torchvision.models.get_model(name, weights=None, num_classes=n_classes).eval()


def saved(net: nn.Module, path: Path) -> str:
    """Its state_dict as safetensors."""
    save_file({key: t.contiguous() for key, t in net.state_dict().items()}, path)
    return str(path)


def at_side(images: Tensor, side: int) -> Tensor:
    """Three channels, resampled."""
    three = images.float().expand(-1, 3, -1, -1) / 255
    return F.interpolate(three, size=(side, side), mode="bilinear", antialias=True)


def responses(net: nn.Module, images: Tensor) -> Tensor:
    """Of torchvision's net."""
    with torch.no_grad():
        return net(images).softmax(1)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_a_suspect_of_torchvisions_own(name: str, tmp_path: Path) -> None:
    """Stem, names and size are torchvision's, whatever the size of the kit's images."""
    net = torchvisions(name)
    config = SuspectConfig(at=saved(net, tmp_path / "w.safetensors"), architecture=name)
    images = IMAGES[:2]
    torch.testing.assert_close(query(config, images), responses(net, at_side(images, 224)), atol=1e-5, rtol=0)


def test_the_side_is_the_one_that_is_named(tmp_path: Path) -> None:
    """A net that was trained on small images gets small ones."""
    net = torchvisions()
    at = saved(net, tmp_path / "w.safetensors")
    config = SuspectConfig(at=at, architecture="resnet18@32")
    expected = responses(net, at_side(IMAGES, 32))
    torch.testing.assert_close(query(config), expected, atol=1e-5, rtol=0)
    assert (expected - responses(net, at_side(IMAGES, 224))).abs().max() > 1e-3, "the size decides"
    own = query(SuspectConfig(at=at, architecture="resnet18@8"))
    assert torch.equal(query(SuspectConfig(at=at, architecture="resnet18", size=8)), own), "as they are sent"
    with pytest.raises(UserError, match="got both"):
        open_suspect(SuspectConfig(at=at, architecture="resnet18@32", size=8), SHAPE, 10)


def test_the_small_variant_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Files of ours keep their name; the variant's weights may also be named as torchvision names them."""
    small = build("resnet18", SHAPE, 10, 0, 0, CPU).eval()
    ours = saved(small, tmp_path / "ours.safetensors")
    expected = predict_probabilities(small, IMAGES / 255)
    plain = {small.published_key(key): t for key, t in small.state_dict().items() if key not in ("mean", "std")}
    assert plain.keys() == torchvisions().state_dict().keys()
    theirs = str(tmp_path / "plain.safetensors")
    save_file({key: t.contiguous() for key, t in plain.items()}, theirs)
    for at, name in ((ours, "resnet18"), (ours, "resnet18-small"), (theirs, "resnet18-small")):
        torch.testing.assert_close(query(SuspectConfig(at=at, architecture=name)), expected, atol=1e-6, rtol=0)
    with pytest.raises(UserError, match=r"'conv1.weight' has the shape 64 x 3 x 3 x 3, not 64 x 3 x 7 x 7") as caught:
        open_suspect(SuspectConfig(at=theirs, architecture="resnet18"), SHAPE, 10)
    assert "resnet18-small" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "keys", "meant"),
    [
        ("resnet18", ["conv1.weight", "fc.weight"], "torchvision:resnet18"),
        ("resnet18", ["module.conv1.weight", "module.fc.weight"], "torchvision:resnet18"),
        ("resnet18@64", ["conv1.weight", "fc.weight"], "torchvision:resnet18@64"),
        ("resnet18", ["backbone.conv1.weight", "last.weight"], "resnet18"),
        ("resnet18", ["module.backbone.conv1.weight", "module.last.weight"], "resnet18"),
        ("resnet18-small", ["conv1.weight", "fc.weight"], "resnet18"),
        ("vgg16-small", [], "vgg16"),
        ("mobilenet_v2-small", [], "mobilenet_v2-small"),
        ("A", ["last.weight"], "A"),
        ("residual", ["last.weight"], "residual"),
        ("timm:resnet18", ["conv1.weight"], "timm:resnet18"),
        ("torchvision:resnet18", ["backbone.conv1.weight", "last.weight"], "torchvision:resnet18"),
        ("mine:make", ["conv1.weight"], "mine:make"),
    ],
)
def test_names_beside_a_file(name: str, keys: list[str], meant: str) -> None:
    assert architecture_of_file(name, keys) == meant


def test_what_specs_hold_is_as_it_was() -> None:
    """`resnet18` of a spec is the variant for small images; the zoo takes no name of a library."""
    assert isinstance(build("resnet18", (3, 8, 8), 4, 0, 0, CPU), TorchvisionNet)
    assert isinstance(build("torchvision:resnet18", (3, 8, 8), 4, 0, 0, CPU), PublishedNet)
    assert "torchvision:resnet18" not in ARCHITECTURES
    assert is_published("timm:resnet18")
    assert not is_import_path("timm:resnet18")
    assert is_import_path("mine:make")


def test_which_nets_have_a_small_variant() -> None:
    """Those whose stem is another one there."""
    assert {name for name in names() if has_small_variant(name)} >= {"resnet18", "vgg16_bn", "densenet121", "googlenet"}
    for name in ("mobilenet_v2", "alexnet", "vit_b_16", "inception_v3"):
        with torch.device("meta"):
            assert TorchvisionNet(name, (3, 32, 32), 3).resample
        assert not has_small_variant(name)


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 224), ("inception_v3", 299), ("googlenet", 224), ("vit_b_32", 224), ("efficientnet_b1", 240)],
)
def test_sizes_are_the_published_ones(name: str, side: int) -> None:
    """In shapes alone, nothing computed."""
    with torch.device("meta"):
        net = PublishedNet(f"torchvision:{name}", (1, 28, 28), 7).eval()
        assert net.side == side
        assert net(torch.empty(2, 1, 28, 28)).shape == (2, 7)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("torchvision:resnet19", "did you mean resnet1"),
        ("torchvision:fcn_resnet50", "no such classification net"),
        ("torchvision:", "expected torchvision:NAME"),
        ("torchvision:resnet18@0", "expected torchvision:NAME"),
        ("timm:hf-hub:who/what", "expected torchvision:NAME or timm:NAME"),
        ("timm:local-dir:/etc", "expected torchvision:NAME or timm:NAME"),
        ("timm:../x", "expected torchvision:NAME or timm:NAME"),
    ],
)
def test_names_that_are_none(architecture: str, words: str) -> None:
    """Nothing is ever downloaded, whatever a name says."""
    with pytest.raises(UserError, match=words) as caught:
        build(architecture, (3, 32, 32), 10, 0, 0, CPU)
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "architecture"


def test_images_that_a_net_does_not_take() -> None:
    with pytest.raises(UserError, match="1 or 3 channels"):
        build("torchvision:resnet18", (2, 32, 32), 10, 0, 0, CPU)
    net = build("torchvision:vit_b_32@64", (3, 64, 64), 10, 0, 0, CPU).eval()
    with pytest.raises(UserError, match="does not take images of 64 x 64"):
        net(torch.zeros(1, 3, 64, 64))


def test_a_published_net_is_a_net_of_ours() -> None:
    """It trains, normalises, quantises; grey images may be normalised as the three channels were."""
    net = build("torchvision:resnet18@8", SHAPE, 10, 0, 0, CPU)
    net.normalise_by(IMAGES / 255)
    assert net.mean.flatten().tolist() == pytest.approx([float(IMAGES.float().mean() / 255)] * 3)
    F.cross_entropy(net(IMAGES / 255), torch.arange(7)).backward()
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []
    assert is_int8(int8_structure(net))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    net.mean.copy_(mean)
    net.std.fill_(0.2)
    with torch.no_grad():
        expected = net.eval().module((IMAGES.expand(-1, 3, -1, -1) / 255 - mean) / 0.2)  # type: ignore[operator]
        torch.testing.assert_close(net(IMAGES / 255), expected)


def trained_on(digits: Dataset, index: Tensor, side: int = 32) -> nn.Module:
    """torchvision's ResNet-18 of digits at that size, trained a little."""
    net = torchvisions().train()
    images, labels = at_side(digits.images[index], side), digits.labels[index]
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in torch.arange(len(images)).split(64)[:12] * (1 if side == 32 else 4):
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return net.eval()


def test_a_victim_of_torchvisions_own(digits: Dataset, digits_splits: Splits, tmp_path: Path) -> None:
    """Read by `enroll` from a file or taken from memory: its answers, from the store as well."""
    module = trained_on(digits, digits_splits.d_v)
    owner = read_owner_model(Path(saved(module, tmp_path / "w.safetensors")), "resnet18@32", 4)
    assert owner.victim.architecture == "torchvision:resnet18@32"
    plan = small_plan(digits, owner.victim)
    context = context_on(Store(str(tmp_path / "s")))
    assert owner.put(context, plan.victim) > 0.3
    expected = responses(module, at_side(digits.images[:50], 32))
    found = predict_probabilities(context.net(plan.victim), digits.pixels(torch.arange(50)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    # At torchvision's size it knows less: nobody has that model.
    at = saved(trained_on(digits, digits_splits.d_v, 8), tmp_path / "n.safetensors")
    narrow = read_owner_model(Path(at), "resnet18", 4)
    with pytest.raises(UserError, match=r"on images as they are and .* resampled to 224; name torchvision:resnet18@8"):
        narrow.put(context, small_plan(digits, narrow.victim).victim)
    assert not context.store.has("model", small_plan(digits, narrow.victim).victim.id)


def test_a_victim_from_memory_is_the_net_of_its_name() -> None:
    """A module alone does not say at which size it is asked."""
    data = ufp.load("digits")
    with pytest.raises(UserError, match="give the factory that makes its module"):
        ufp.enroll(
            ufp.wrap(torchvisions(), 10), data, architecture="torchvision:resnet18", train="owners_training:train"
        )


def test_nets_of_timm_by_name(tmp_path: Path) -> None:
    """Their own size, names and stem."""
    timm = pytest.importorskip("timm")
    with seeded(0, CPU):
        net = timm.create_model("resnet10t", pretrained=False, num_classes=10).eval()
    side = net.pretrained_cfg["input_size"][-1]
    config = SuspectConfig(at=saved(net, tmp_path / "w.safetensors"), architecture="timm:resnet10t")
    images = IMAGES[:2]
    torch.testing.assert_close(query(config, images), responses(net, at_side(images, side)), atol=1e-5, rtol=0)
    for name, words in (("resnet10x", "did you mean resnet10t"), ("resnet10t.no_such", "cannot make it")):
        with pytest.raises(UserError, match=words) as caught:
            build(f"timm:{name}", SHAPE, 10, 0, 0, CPU)
        assert "\n" not in str(caught.value)
    with pytest.raises(MisfitError, match=r"fc\.weight|fc\.bias"):
        load_weights(build("timm:resnet10t", SHAPE, 7, 0, 0, CPU), net.state_dict())


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'uapfp_dist\[timm\]'"):
        build("timm:resnet18", SHAPE, 10, 0, 0, CPU)
    assert published_name("timm:resnet18.a1_in1k@64").side == 64
    assert isinstance(build("A", SHAPE, 10, 4, 0, CPU), Net)
