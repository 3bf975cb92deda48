"""A net as a model of MLflow, without a server: what it responds and counts, and the files it is made of."""

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_kit import WIDTH, churn_kit, responses_of, trained
from toy_suspects import IMAGES

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL
from uapfp_dist.serving.held_out import chosen_row
from uapfp_dist.serving.package import QUIET, ServedNet, package, server_command
from uapfp_dist.verification.kit.info import KitModel

TOY = ServedNet("A", WIDTH, (1, 8, 8), 10)


def weights() -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in trained(0).state_dict().items()}


@pytest.fixture(scope="module")
def model() -> Any:
    """As MLflow's server makes it; MLflow warns of its own types when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from uapfp_dist.serving.served_model import ServedModel

        return ServedModel()


@pytest.mark.parametrize("output", ["probabilities", "label"])
def test_it_responds_as_the_net_does_and_counts_images(output: str, model: Any, tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "weights.safetensors")
    config = {**vars(TOY), "output": output, "counts": str(tmp_path / "counts")}
    model.load_context(
        SimpleNamespace(model_config=config, artifacts={"weights": str(tmp_path / "weights.safetensors")})
    )
    local = responses_of(trained(0), IMAGES)
    for images, expected in ((IMAGES[:3], local[:3]), (IMAGES, local)):
        found = torch.tensor(model.predict(None, (images.float() / 255).numpy()))
        torch.testing.assert_close(found, expected.argmax(1) if output == "label" else expected)
    assert (tmp_path / "counts").read_text().split() == ["3", str(len(IMAGES))]


def test_nan_is_no_label(model: Any, tmp_path: Path) -> None:
    """The largest of NaN is the first class."""
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in weights().items()}, tmp_path / "w")
    config = {**vars(TOY), "output": "label", "counts": str(tmp_path / "counts")}
    model.load_context(SimpleNamespace(model_config=config, artifacts={"weights": str(tmp_path / "w")}))
    assert model.predict(None, IMAGES[:3].float().numpy()) == [None] * 3


def test_a_package_holds_code_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pickle among its files."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    folder = package(TOY, weights(), "label", tmp_path / "served")
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "served_model.py", "weights.safetensors"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    (path,) = folder.rglob("weights.safetensors")
    assert all(torch.equal(tensor, weights()[name]) for name, tensor in load_file(path).items())
    assert server_command(folder, 5)[-4:] == ["-h", "127.0.0.1", "-p", "5"]


def test_a_kit_that_holds_out_no_stolen_model_says_why() -> None:
    """The group that is served by default: the message says which there are."""
    kit = churn_kit("light")
    held_out = [KitModel("homologous", "test", "", "", architecture="A", optimizer="adam", model="m")] * 2
    rows = [row for row in kit.info.models if row.part != "test"]
    light = replace(kit, info=replace(kit.info, models=(*rows, *held_out)))
    said = r"models of \(homologous\), got piracy: it is light, and holds out no stolen model; .* group homologous"
    with pytest.raises(UserError, match=said) as told:
        chosen_row(light, "piracy", 0)
    assert told.value.argument == "group"
    full = replace(light, views={LABEL: torch.zeros(2, 1, 1, dtype=torch.int64)})
    with pytest.raises(UserError, match="got piracy: none of its stolen models to hold out could be made; name"):
        chosen_row(full, "piracy", 0)
    full = replace(full, info=replace(full.info, configuration={"enroll": {"n_test_piracy": 0}}))
    with pytest.raises(UserError, match="got piracy: it was enrolled with n_test_piracy 0; name"):
        chosen_row(full, "piracy", 0)
    assert chosen_row(light, "homologous", 1).group == "homologous"
    with pytest.raises(UserError, match=r"index: expected 0 to 1, .* got 2"):
        chosen_row(light, "homologous", 2)
