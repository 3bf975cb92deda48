"""What the tests share: one thread, the embedded digits, one small trained net."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import save_blank
from matplotlib.figure import Figure
from method_matrix import made_up_matrix
from mlflow import MlflowClient
from PIL import Image
from system import MODELS, Lab
from torch import Tensor
from torchvision.datasets import CIFAR10, FashionMNIST

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset, Splits, load, make_splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.models import Net, build
from uapfp_dist.models.training import fit
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe
from uapfp_dist.verification.querying import session

CPU = torch.device("cpu")

torch.set_num_threads(1)  # the order of a parallel sum must not decide a test


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell that runs the tests in the background has them ignore Ctrl-C, and what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images go where the tests' other files go, not among the user's."""
    os.environ.setdefault("UAPFP_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def blank_figures() -> Iterator[None]:
    """Figures are made and not painted, which takes two thirds of a small evaluation: for tests of its numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_blank)
        yield


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that failed is sent again after a millisecond."""
    monkeypatch.setattr(session, "FIRST_PAUSE", 0.001)


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of decoded images, of one test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UAPFP_CACHE", str(folder))
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No download: the mirrors refuse the connection."""
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's digits."""
    return load("digits", None)


def _coloured(images: Tensor) -> Tensor:
    """(N, 3, h, w) whose channels are not each other's: the digit, the digit a row lower, its negative."""
    grey = images[:, 0]
    return torch.stack([grey, grey.roll(1, 1), 255 - grey], dim=1)


@pytest.fixture(scope="session")
def colour_folder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as FOLDER/<class>/<number>.png in colour; their order of letters is not that of digits."""
    root = tmp_path_factory.mktemp("mine")
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for i, (image, label) in enumerate(zip(_coloured(digits.images), digits.labels.tolist(), strict=True)):
        path = root / names[label] / f"{i:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return root


@pytest.fixture(scope="session")
def digits_plan(digits: Dataset) -> Plan:
    """The digits preset under seed 0, nothing trained."""
    return make_plan(preset("digits"), 0, digits)


@pytest.fixture(scope="session")
def digits_splits(digits: Dataset, digits_plan: Plan) -> Splits:
    """The cuts of `digits_plan`."""
    return make_splits(digits, digits_plan.data)


@pytest.fixture(scope="session")
def own(digits: Dataset, digits_splits: Splits) -> Tensor:
    """The victim's training images."""
    return digits.pixels(digits_splits.d_v)


@pytest.fixture(scope="session")
def pool(digits: Dataset, digits_splits: Splits) -> Tensor:
    """The attacker's natural images."""
    return digits.pixels(outside_of(digits_splits.d, digits_splits.d_v))


@pytest.fixture(scope="session")
def held_out(digits: Dataset, digits_splits: Splits) -> Tensor:
    """PROBE: images that no model was trained on."""
    return digits.pixels(digits_splits.probe)


@pytest.fixture(scope="session")
def held_out_labels(digits: Dataset, digits_splits: Splits) -> Tensor:
    """Their true labels."""
    return digits.labels[digits_splits.probe]


@pytest.fixture(scope="session")
def victim(digits: Dataset, digits_splits: Splits, own: Tensor) -> Net:
    """Architecture A at width 8, ten epochs over D_v: a quarter of a second, nine in ten unseen digits right."""
    net = build("A", digits.shape, digits.n_classes, 8, 0, CPU)
    net.normalise_by(own)
    recipe = Recipe("adam", 64, 10 * len(own))
    fit(net, own, digits.labels[digits_splits.d_v], recipe, torch_rng("order"))
    return net


@pytest.fixture(scope="session")
def matrix(digits_plan: Plan) -> ResponseMatrix:
    """Seventeen models; the specs are the plan's, the responses made up."""
    return made_up_matrix(digits_plan)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The path is short: Ray's sockets lie below it, and a socket's name has at most 107 bytes."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        yield Lab(home, database)


@pytest.fixture(scope="session")
def serial(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one process without Ray: what all others are held against."""
    with lab.job(tmp_path_factory.mktemp("serial"), "--workers", "0") as running:
        report: dict[str, Any] = running.finish()
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    assert report["verdicts"]
    return report
