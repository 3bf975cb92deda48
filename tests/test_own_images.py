"""An owner with a folder of colour images and a net of her own: enrolled by the job, a copy verified over HTTP."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty_server import serving
from owners_net import trained
from safetensors.torch import save_file
from system import flags, tiny
from torch import nn

from uapfp_dist.data import load
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_io import load_kit
from uapfp_dist.verification.querying import N_REPEATS
from uapfp_dist.verification.verify import verify

WANTED = (
    "--alpha", "0.5", "--attacks", "cloudleak", "--labels", "soft", "--n-train", "2", "--n-train-piracy", "2",
    "--n-test", "1", "--n-test-piracy", "1",
)  # fmt: skip


@pytest.fixture(scope="module")
def hers(colour_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """Her module, trained on every other image; its weights and the list of those images lie in the folder returned."""
    mine, place = load("imagefolder", colour_folder), tmp_path_factory.mktemp("hers")
    index = torch.arange(0, len(mine.labels), 2)
    net = trained(mine.pixels(index), mine.labels[index], mine.n_classes)
    save_file(net.state_dict(), place / "hers.safetensors")
    (place / "index.txt").write_text("\n".join(map(str, index.tolist())))
    return net, place


@pytest.fixture(scope="module")
def kit(colour_folder: Path, hers: tuple[nn.Module, Path], tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Made by the job, with options as she would give them."""
    root, (_, place) = tmp_path_factory.mktemp("enrolled"), hers
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).parent.parent / "jobs"))
        enroll = importlib.import_module("enroll")
    own = ("--model", f"{place}/hers.safetensors", "--architecture", "owners_net:make")
    data = ("--data.name", "imagefolder", "--data-root", str(colour_folder), "--trained-on", f"{place}/index.txt")
    where = ("--storage", f"{root}/s", "--mlflow-uri", f"sqlite:///{root}/mlflow.db", "--out", f"{root}/kit")
    enroll.run(enroll.parse([*own, *data, *where, "--workers", "0", *flags(tiny()), *WANTED]))
    return load_kit(root / "kit")


@pytest.mark.slow
def test_her_colour_images_are_enrolled(kit: Kit, colour_folder: Path, hers: tuple[nn.Module, Path]) -> None:
    """The kit asks about images of her size and colours, names her classes, and holds what her module says."""
    assert tuple(kit.images.shape[1:]) == (3, 8, 8)
    assert kit.class_names == tuple(sorted(path.name for path in colour_folder.iterdir()))
    assert torch.allclose(predict_probabilities(hers[0], kit.images.float() / 255), kit.victim, atol=1e-5)
    assert any("owners_net:make" in limit for limit in kit.info["limits"]), "some copies are of her architecture"
    assert {row["group"] for row in kit.info["models"]} == {"piracy", "homologous", "same_data", "other_victim"}


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["BGR", "RGB"])
def test_a_copy_that_wants_other_colours_first(
    channels: str, kit: Kit, hers: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    """Served as OpenCV's users do: bytes, height by width by blue, green, red. Asked so it is she, else it is not."""

    def served(images: np.ndarray) -> list[list[float]]:
        assert images.shape[1:] == (8, 8, 3)
        assert images.max() > 1
        rgb = torch.from_numpy(images[..., ::-1].astype(np.float32) / 255).permute(0, 3, 1, 2)
        return predict_probabilities(hers[0], rgb).tolist()

    with serving(served) as endpoint:
        asked = SuspectConfig(at=endpoint.url, name="s", layout="NHWC", scale="0-255", channels=channels)
        (case,) = verify(kit, [asked], tmp_path)
    assert case.ledger.queries == endpoint.images
    asked_for = ~case.probabilities.isnan().any(1)  # the kit has images for other formats, too
    assert int(asked_for.sum()) == case.ledger.queries - N_REPEATS
    ours, hers_alone = case.probabilities[asked_for], kit.victim[asked_for]
    assert torch.allclose(ours, hers_alone, atol=1e-5) == (channels == "BGR")
    agreement = float((ours.argmax(1) == hers_alone.argmax(1)).float().mean())
    if channels == "BGR":
        assert (case.verdict.claim, agreement) == ("piracy", 1.0)
        assert case.verdict.similarity == pytest.approx(1.0, abs=1e-5)
    else:
        assert agreement < 0.9
