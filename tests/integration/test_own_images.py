"""An owner's folder of colour images and net: enrolled by the job, a copy verified over HTTP."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from faulty_server import serving
from owners_net import trained
from safetensors.torch import save_file
from small_enrollment import enrollment_flags
from system import tiny
from torch import nn

from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.session import N_REPEATS
from uapfp_dist.verification.verify import verify

REQUIREMENTS = (
    "--alpha", "0.5", "--attacks", "cloudleak", "--labels", "soft", "--n-train", "2", "--n-train-piracy", "2",
    "--n-test", "1", "--n-test-piracy", "1",
)  # fmt: skip


@pytest.fixture(scope="module")
def owner(colour_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A module trained on every other image; its weights and the list of those images are in the folder returned."""
    mine, place = load("imagefolder", colour_folder), tmp_path_factory.mktemp("owner")
    index = torch.arange(0, len(mine.labels), 2)
    net = trained(mine.pixels(index), mine.labels[index], mine.n_classes)
    save_file(net.state_dict(), place / "owner.safetensors")
    (place / "index.txt").write_text("\n".join(map(str, index.tolist())))
    return net, place


@pytest.fixture(scope="module")
def kit(colour_folder: Path, owner: tuple[nn.Module, Path], tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Made by the job, with options as an owner would give them."""
    root, (_, place) = tmp_path_factory.mktemp("enrolled"), owner
    files = ("--model", f"{place}/owner.safetensors", "--architecture", "owners_net:make")
    data = ("--data.name", "imagefolder", "--data-root", str(colour_folder), "--trained-on", f"{place}/index.txt")
    where = ("--storage", f"{root}/s", "--mlflow-uri", f"sqlite:///{root}/mlflow.db", "--out", f"{root}/kit")
    run("enroll", *files, *data, *where, "--seed", "0", "--workers", "0", *enrollment_flags(tiny()), *REQUIREMENTS)
    return load_kit(root / "kit")


@pytest.mark.slow
def test_an_owners_colour_images_are_enrolled(kit: Kit, colour_folder: Path, owner: tuple[nn.Module, Path]) -> None:
    """The kit has images of that size and colours, names the classes, and holds the module's responses."""
    assert tuple(kit.images.shape[1:]) == (3, 8, 8)
    assert kit.class_names == tuple(sorted(path.name for path in colour_folder.iterdir()))
    assert torch.allclose(predict_probabilities(owner[0], kit.images.float() / 255), kit.victim, atol=1e-5)
    assert any("owners_net:make" in limit for limit in kit.info.limits), "some copies are of that architecture"
    assert {row.group for row in kit.info.models} == {"piracy", "homologous", "same_data", "other_victim"}


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["BGR", "RGB"])
def test_a_copy_that_wants_other_colours_first(
    channels: str, kit: Kit, owner: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    """Served as OpenCV's users do: bytes, height by width by blue, green, red. So it is the victim, else not."""

    def served(images: np.ndarray) -> list[list[float]]:
        assert images.shape[1:] == (8, 8, 3)
        assert images.max() > 1
        rgb = torch.from_numpy(images[..., ::-1].astype(np.float32) / 255).permute(0, 3, 1, 2)
        return predict_probabilities(owner[0], rgb).tolist()

    with serving(served) as endpoint:
        suspect = SuspectConfig(at=endpoint.url, name="s", layout="NHWC", scale="0-255", channels=channels)
        if channels == "RGB":
            with pytest.raises(UserError, match="does not look like the input this model expects"):
                verify(kit, [suspect], tmp_path)
        (case,) = verify(kit, [suspect], tmp_path, QueryConfig(anyway=channels == "RGB"))
    assert case.ledger.queries == endpoint.images
    queried = ~case.probabilities.isnan().any(1)  # the kit has images for other formats, too
    assert int(queried.sum()) == case.ledger.queries - N_REPEATS
    ours, victims = case.probabilities[queried], kit.victim[queried]
    assert torch.allclose(ours, victims, atol=1e-5) == (channels == "BGR")
    agreement = float((ours.argmax(1) == victims.argmax(1)).float().mean())
    if channels == "BGR":
        assert (case.verdict.claim, agreement) == ("piracy", 1.0)
        assert case.verdict.similarity == pytest.approx(1.0, abs=1e-5)
    else:
        assert agreement < 0.9
