"""Enrolment, verification and evaluation through the front door, on the smallest zoos."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import owners_training
import pytest
import torch
from front_door import linear, world
from owners_net import OwnersNet, make
from small_enrollment import SMALL, small_config
from system import tiny
from torch import Tensor, nn

import uapfp_dist as ufp
from uapfp_dist.api import evaluating, verifying
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.models import Net
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.register.register import Register, register_path

FEW = replace(SMALL, attacks=("knockoff",), groups=("homologous", "sibling"), n_points=12)
MEAN, STD = 0.25, 2.0


class Shifted(nn.Module):
    """The owner's module, for images that were normalised: by MEAN and STD it takes what `OwnersNet` takes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images * STD + MEAN)
        return logits


def make_shifted(n_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The factory."""
    return Shifted(OwnersNet(n_classes, shape))


def train_shifted(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """A sibling, wrapped as the victim is."""
    return ufp.wrap(Shifted(owners_training.train(images, labels, seed, device)), 10, MEAN, STD)


@dataclass(frozen=True)
class Enrolled:
    """A kit, and the victim that it is of."""

    victim: Net
    kit: Kit
    folder: Path


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enrolled]:
    """By functions, mean and std apart from the module; the random state outside stays."""
    data = world().data
    state = torch.random.get_rng_state()
    own = data.victim_set
    victim = train_shifted(own.images, own.labels, 1, torch.device("cpu"))
    folder = tmp_path_factory.mktemp("enrolled") / "kit"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verifying, "draw_seed", lambda: 7)  # no luck in a test
        kit = ufp.enroll(
            victim,
            data,
            architecture=make_shifted,
            train=train_shifted,
            requirements=FEW,
            config=small_config(),
            out=folder,
        )
    yield Enrolled(victim, kit, folder)
    torch.random.set_rng_state(state)


def test_a_kit_is_of_the_victim_and_private(enrolled: Enrolled) -> None:
    kit, folder = enrolled.kit, enrolled.folder
    assert load_kit(folder).digest == kit.digest
    assert register_path(folder).is_file()
    assert folder.with_name("kit.seed").is_file()
    images = kit.images.float() / 255
    with torch.no_grad():
        labels = enrolled.victim(images).argmax(1)
    assert torch.equal(labels, kit.victim_labels)


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_a_copy_of_the_victim_is_found_and_a_stranger_is_not(output: str, enrolled: Enrolled, tmp_path: Path) -> None:
    copied = ufp.verify(enrolled.kit, enrolled.victim, output=output, out=tmp_path / "copied")
    assert copied.claim == "piracy"
    assert copied.p_value <= 0.5
    assert (tmp_path / "copied" / "verdict.html").is_file()
    # So small a model may give fewer usual labels than every model of the kit.
    stranger = ufp.verify(enrolled.kit, world().independent[0], output=output, query=QueryConfig(anyway=True))
    assert copied.churn is not None
    assert stranger.churn is not None
    assert stranger.churn.agreed < copied.churn.agreed == copied.churn.of
    assert copied.register is None, "a kit in memory keeps none"


class Failing(nn.Module):
    """Gives NaN for every other image, but for the first images that it gets."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        logits[1 if self.asked else len(images) :: 2] = torch.nan
        self.asked += len(images)
        return logits


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_nan_is_no_answer(output: str, enrolled: Enrolled) -> None:
    """Nor the first class, where it answers with labels."""
    failing = ufp.wrap(Failing(enrolled.victim), 10)
    verdict = ufp.verify(enrolled.kit, failing, output=output, query=QueryConfig(anyway=True))
    assert any("answers cannot be used" in finding for finding in verdict.findings)
    assert verdict.claim != "piracy"


def test_every_look_by_the_folder_counts(enrolled: Enrolled) -> None:
    verdict = ufp.verify(enrolled.folder, enrolled.victim, output="label")
    assert verdict.register is not None
    assert verdict.register.looks == 1
    register = Register.open(register_path(enrolled.folder), enrolled.kit.digest)
    assert [look.p_value for look in register.looks] == [verdict.p_value]
    with pytest.raises(ufp.UserError, match="at most 1"):
        ufp.verify(enrolled.folder, world().independent[0], output="label")


def test_wrong_suspects_are_told(enrolled: Enrolled) -> None:
    for suspect, output, words in (
        (ufp.wrap(linear(7), 7), "label", "10 classes"),
        (enrolled.victim, "top3", "probabilities or label"),
        (linear(), "label", "wrap"),
        ("no.onnx", "label", "no.onnx"),
    ):
        with pytest.raises(ufp.UserError, match=words) as refused:
            ufp.verify(enrolled.kit, suspect, output=output)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)


def test_a_victim_of_other_weights_than_the_factorys_is_refused() -> None:
    with pytest.raises(ufp.UserError, match="weights: expected"):
        ufp.enroll(world().victim, world().data, architecture=make, train=owners_training.train, config=small_config())


def test_an_evaluation_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Config, str, int, RuntimeConfig]] = []
    monkeypatch.setattr(evaluating, "run", lambda *given: seen.append(given))
    ufp.evaluate("fashion_mnist-small", seed=3, storage=Path("S"), data_root="D", workers=2, methods=["all"])
    ufp.evaluate(runtime=RuntimeConfig(workers=0))
    config, name, seed, runtime = seen[0]
    assert (config, name, seed) == (preset("fashion_mnist-small"), "fashion_mnist-small", 3)
    assert runtime == RuntimeConfig(storage="S", data_root=Path("D"), workers=2)
    assert seen[1][3] == RuntimeConfig(workers=0)


@pytest.mark.slow
def test_an_evaluation_on_ray_in_three_lines(tmp_path: Path) -> None:
    report = ufp.evaluate(config=tiny(), storage=tmp_path, workers=1)
    assert isinstance(report, EvaluationReport)
    assert report.auc["uap"]["chosen"]["homologous"] is not None
    assert report.verdicts
