"""A kit of JPEG files: all that judges a suspect was asked what is read from the files that it is sent."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from protocol_servers import BadRequestError, Model, Request, serving_protocol
from small_enrollment import run_here, small_config, small_plan
from system import context_on
from torch import nn

from uapfp_dist.data import Dataset
from uapfp_dist.data.jpeg import as_read, check_jpeg, jpeg_files, jpeg_pixels
from uapfp_dist.errors import UserError
from uapfp_dist.execution.churn_artifacts import read_churn
from uapfp_dist.fingerprints.blocks import CHURN
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits
from uapfp_dist.storage.store import Store
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.tasks.method_configs import ChurnConfig, UapConfig
from uapfp_dist.verification.enrollment.jpeg_kit import of_files
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.enrollment.responses import read_enrolled
from uapfp_dist.verification.kit.check import problem_of
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.kit.jpeg_files import JpegFiles
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.verify import verify

QUALITY = 60
"""At which the smallest images change most of their pixels."""
WITH_EXACT = {"exact": "beside", "n_sets": 1, "exact_siblings": 3, "n_exact_stolen": 1, "n_exact_points": 8}


@pytest.fixture(scope="module")
def plan(digits: Dataset) -> EnrollmentPlan:
    return small_plan(digits, jpeg_quality=QUALITY, **WITH_EXACT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("jpeg")))


@pytest.fixture(scope="module")
def kit(plan: EnrollmentPlan, digits: Dataset, store: Store) -> Kit:
    return run_here(plan, digits, store)


def labels_of(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return predict_probabilities(net, as_float(images)).argmax(1)


def test_files_and_what_is_read_from_them() -> None:
    """Grey and colour, as another decoder of the same library reads them; nothing changes without a quality."""
    from torchvision.io import decode_jpeg

    rng = torch.Generator().manual_seed(0)
    for shape in ((3, 1, 8, 8), (2, 3, 13, 21)):
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)
        files = jpeg_files(images, QUALITY)
        read = jpeg_pixels(files)
        assert read.shape == shape
        assert not torch.equal(read, images)
        assert torch.equal(read, as_read(images, QUALITY))
        theirs = torch.stack([decode_jpeg(torch.frombuffer(bytearray(file), dtype=torch.uint8)) for file in files])
        assert torch.equal(read, theirs)
        assert as_read(images, None) is images
        assert JpegFiles.of(files).files() == files


def test_the_images_are_what_is_read_from_the_files(kit: Kit, tmp_path: Path) -> None:
    assert kit.jpeg is not None
    assert torch.equal(jpeg_pixels(kit.jpeg.files()), kit.images)
    found = load_kit(tmp_path / "kit", save_kit(kit, tmp_path / "kit"))
    assert found.jpeg is not None
    assert found.jpeg.files() == kit.jpeg.files()
    assert (found.info.jpeg_quality, found.exact is not None) == (QUALITY, True)
    assert "JPEG files of quality 60" in kit_text(found)


def test_files_that_do_not_belong_to_the_images(kit: Kit) -> None:
    """One too few, one that is empty, bytes of none, no word of their quality, a word of files that are not there."""
    assert kit.jpeg is not None
    assert not problem_of(kit)
    data, ends = kit.jpeg.data, kit.jpeg.ends
    empty = ends.clone()
    empty[0] = empty[1]
    for jpeg in (
        JpegFiles(data, ends[:-1]),
        JpegFiles(data, empty),
        JpegFiles(data[:-1], ends),
        JpegFiles(data, -ends),
    ):
        assert "jpeg" in problem_of(replace(kit, jpeg=jpeg)).lower()
    assert problem_of(replace(kit, jpeg=None)) == "JPEG files"
    assert problem_of(replace(kit, info=replace(kit.info, jpeg_quality=None))) == "JPEG files"


def test_every_model_was_asked_what_is_read_from_the_files(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Asked anew: the victim's labels, each held-out model's agreement on churn points and natural errors, and the
    labels of the players of the exact test."""
    context = context_on(store)
    assert kit.churn is not None
    assert kit.exact is not None
    assert torch.equal(labels_of(context.net(plan.victim), kit.images), kit.victim_labels)
    by_id = {s.member.spec.id: s.member.spec for s in plan.reference_models}
    for row, model in enumerate(kit.info.models):
        agrees = labels_of(context.net(by_id[model.model]), kit.images) == kit.victim_labels
        assert torch.equal(agrees[kit.churn.points], kit.churn.agrees[row])
        assert torch.equal(agrees[kit.natural], kit.agrees[row])
    assert plan.exact is not None
    for i, player in enumerate(plan.exact.players[: len(kit.exact.index)]):
        assert torch.equal(labels_of(context.net(player), kit.images)[kit.exact.index[i]], kit.exact.labels[i])


def jpeg_only(request: Request, model: Model) -> tuple[int, list[dict[str, object]]]:
    """Takes one JPEG file in a form, and answers a label and its score."""
    (part,) = request.form()["file"]
    opened = Image.open(io.BytesIO(part[1]))
    if opened.format != "JPEG":
        raise BadRequestError("expected a JPEG file")
    (probabilities,) = model(np.asarray(opened, dtype=np.float32)[None, None] / 255)
    best = int(np.argmax(probabilities))
    return 1, [{"label": best, "score": float(probabilities[best])}]


def test_a_server_that_takes_nothing_but_jpeg(
    plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    """The scores are those of the local model on the kit's pixels; the server's count is the ledger's; nothing is sent
    of a kit without files, or in a size of one's own."""
    stolen = next(s.member.spec for s in plan.reference_models if s.group == "piracy" and s.part == "held_out")
    net = context_on(store).net(stolen)

    def model(images: np.ndarray) -> np.ndarray:
        return predict_probabilities(net, torch.from_numpy(images)).numpy()

    (tmp_path / "r.json").write_text('{"multipart": {"file": "{jpeg}"}}')
    with serving_protocol(jpeg_only, model) as server:
        suspect = SuspectConfig(
            at=server.url, request=tmp_path / "r.json", answer="[*].label", output="label", name="thief"
        )
        refused: Sequence[tuple[Kit, SuspectConfig, str]] = (
            (replace(kit, jpeg=None), suspect, "this kit has no JPEG files"),
            (kit, replace(suspect, size=(16,)), "size: expected none, images are sent as the kit's JPEG files"),
            (kit, replace(suspect, scale="0-255"), "scale: expected none"),
        )
        for one, given, message in refused:
            with pytest.raises(UserError, match=message):
                verify(one, [given], tmp_path / "refused")
        assert not server.images
        (case,) = verify(kit, [suspect], tmp_path / "out", QueryConfig(seed=3, anyway=True, exact=True))
    answered = case.probabilities.isfinite().all(1)
    assert int(answered.sum()) > len(kit.exact_images)
    assert torch.equal(case.probabilities.argmax(1)[answered], labels_of(net, kit.images)[answered])
    assert case.verdict.exact is not None
    assert case.verdict.exact.answered == len(kit.exact_images)
    assert case.ledger.queries == server.images
    (again,) = replay(kit, [next((tmp_path / "out").glob("*.transcript.jsonl"))])
    assert again.verdict == case.verdict


def test_workers_that_read_other_pixels(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Their answers would be to other images than a suspect is sent."""
    found = read_enrolled(plan, store)
    assert found is not None
    assert found.churn is not None
    sources = found.churn.points.sources
    assert sources is not None
    assert torch.equal(as_read(sources, QUALITY), read_churn(store.get("churn", plan.churn.id))[CHURN].images)
    points = replace(found.churn.points, images=found.churn.points.images ^ 1)
    read = {key: images ^ 1 for key, images in found.probe.read_from_files.items()}
    assert found.exact is not None
    pool = found.exact.pool
    assert pool.sources is not None
    others = (
        (sources[:3], replace(found, churn=replace(found.churn, points=points))),
        (to_8_bits(found.probe.points[:3]), replace(found, probe=replace(found.probe, read_from_files=read))),
        (
            pool.sources[:3],
            replace(
                found, exact=replace(found.exact, pool=replace(found.exact.pool, images=found.exact.pool.images ^ 1))
            ),
        ),
    )
    for images, enrolled in others:
        bare = replace(kit, images=images, jpeg=None)
        with pytest.raises(UserError, match="install the same version of Pillow"):
            of_files(bare, QUALITY, enrolled)


def test_what_no_jpeg_file_holds(digits: Dataset) -> None:
    for quality, channels, message in ((0, 1, "1 to 100"), (101, 3, "1 to 100"), (90, 4, "1 or 3 channels")):
        with pytest.raises(UserError, match=message):
            check_jpeg(quality, channels)
    check_jpeg(None, 4)
    twice = replace(small_config(), uap=UapConfig(jpeg_quality=90), churn=ChurnConfig(pool_size=1000))
    with pytest.raises(UserError, match="one for all images of a kit"):
        plan_enrollment(twice, small_plan(digits).requirements, 0, digits)
