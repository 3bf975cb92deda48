"""Training in bfloat16: other models under other ids, as good as those in float32, and said wherever they are shown."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_enrollment import SMALL, run_here, small_config
from system import tiny
from torch import Tensor, nn

from uapfp_dist.config import precision as config_precision
from uapfp_dist.config.command_line import config_flags
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.models import build
from uapfp_dist.models import precision as models_precision
from uapfp_dist.models.activations import Elu, PRelu
from uapfp_dist.models.training import Trainer, fit
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.recipe import Precision
from uapfp_dist.tasks.specs import Recipe
from uapfp_dist.verification.enrollment.derived_config import recorded_configuration
from uapfp_dist.verification.enrollment.plan import plan_enrollment
from uapfp_dist.verification.kit.io import load_kit, save_kit

CPU = torch.device("cpu")
DIGITS = load("digits", None)
IMAGES, LABELS = DIGITS.pixels(torch.arange(600)), DIGITS.labels[:600]
OTHERS, OTHER_LABELS = DIGITS.pixels(torch.arange(600, 1797)), DIGITS.labels[600:]


def trained(architecture: str, precision: Precision, seed: int = 0) -> nn.Module:
    net = build(architecture, DIGITS.shape, DIGITS.n_classes, 8, seed, CPU)
    net.normalise_by(IMAGES)
    fit(net, IMAGES, LABELS, Recipe("adam", 64, 6000, precision=precision), torch_rng("precision", seed))
    return net


def accuracy(net: nn.Module) -> float:
    with torch.no_grad():
        return float((net(OTHERS).argmax(1) == OTHER_LABELS).float().mean())


@pytest.mark.parametrize("architecture", ["A", *(pytest.param(name, marks=pytest.mark.slow) for name in "BCDE")])
def test_nets_are_as_good_in_either_precision(architecture: str) -> None:
    """On equal seeds the difference is below the spread over seeds, of three each."""
    full, half = ([accuracy(trained(architecture, p, seed)) for seed in range(3)] for p in ("float32", "bfloat16"))  # type: ignore[arg-type]
    assert min(full) > 0.7
    assert abs(sum(full) - sum(half)) / 3 < 0.05


def test_the_arithmetic_is_in_bfloat16_and_the_weights_are_not() -> None:
    seen: list[torch.dtype] = []
    net = build("A", DIGITS.shape, 10, 8, 0, CPU)
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    Trainer(net, Recipe("sgd", 64, 64 * 3, precision="bfloat16"), torch_rng("seen")).run(IMAGES, LABELS)
    assert seen == [torch.bfloat16] * 3
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    seen.clear()
    net(IMAGES[:2])
    assert seen == [torch.float32]


def test_training_in_bfloat16_is_reproducible() -> None:
    first, second = (trained("B", "bfloat16").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("module", [Elu(), PRelu()])
def test_activations_in_bfloat16_are_torchs(module: nn.Module) -> None:
    """To the last place or two of 8 bits: values and gradients."""
    x = torch.linspace(-4, 4, 999).bfloat16()

    def both(f: nn.Module | None) -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        slope = module.weight.detach() if isinstance(module, nn.PReLU) else None
        y = f(leaf) if f else F.elu(leaf.float()) if slope is None else F.prelu(leaf.float(), slope)
        (gradient,) = torch.autograd.grad(y.float().sum(), leaf)
        return y.float(), gradient.float()

    for ours, theirs in zip(both(module), both(None), strict=True):
        assert torch.allclose(ours, theirs, rtol=0.02, atol=0.02)


def test_precision_is_part_of_a_models_id_and_float32_is_not() -> None:
    config = preset("digits")
    half = replace(config, precision="bfloat16")
    ours, theirs = (make_plan(c, 0, DIGITS) for c in (config, half))
    before, after = ({m.spec.id for m in plan.members} for plan in (ours, theirs))
    assert not before & after
    assert len(before) == len(after)
    assert {m.spec.recipe.precision for m in theirs.members} == {"bfloat16"}
    assert "precision" not in json.dumps(wire_form(config))
    assert wire_form(half)["precision"] == "bfloat16"
    assert config_flags(half, config) == ["--precision", "bfloat16"]


def test_auto_is_settled_before_anything_is_planned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    auto = replace(Config(), precision="auto")
    with pytest.raises(UserError, match="expected float32 or bfloat16 in a plan, got auto"):
        make_plan(auto, 0, DIGITS)
    for there, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(config_precision, "has_bfloat16", lambda device, there=there: there)
        assert with_precision(auto) == replace(Config(), precision=expected)
        assert f"precision {expected}: " in capsys.readouterr().err
    for given in ("float32", "bfloat16"):
        config = replace(Config(), precision=given)
        assert with_precision(config) is config


def test_auto_without_gpus_is_the_precision_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is there computes in bfloat16, this CPU does not; workers without a share of it take the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(config_precision, "has_bfloat16", lambda device: device.type == "cuda")
    auto = replace(Config(), precision="auto")
    found = [with_precision(auto, gpus).precision for gpus in (None, 0.25, 0.0)]
    assert found == ["bfloat16", "bfloat16", "float32"]


def test_a_device_that_emulates_says_so_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It computes the same, some times as slowly: no model fails of it."""
    monkeypatch.setattr(models_precision, "has_bfloat16", lambda device: False)
    models_precision._warn_of_emulation.cache_clear()
    with caplog.at_level(logging.WARNING):
        trained("C", "bfloat16")
    models_precision._warn_of_emulation.cache_clear()
    (record,) = caplog.records
    assert "emulates it" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_card_says_bfloat16() -> None:
    card = ModelCard("i", "A", "sgd", 64, "trained:victim_set", 0, 0.9, None, None, 0, 0, 1, "d", 1.0, "CPU")
    assert "precision" not in card.to_json()
    assert replace(card, precision="bfloat16").to_json()["precision"] == "bfloat16"


def test_a_kit_records_the_precision() -> None:
    half = replace(small_config(), precision="bfloat16")
    assert recorded_configuration(half, SMALL)["zoo"]["precision"] == "bfloat16"
    assert "precision" not in recorded_configuration(tiny(), SMALL)["zoo"]


@pytest.mark.slow
def test_a_kit_says_in_which_precision_its_models_were_made(tmp_path: Path) -> None:
    """And can be read again."""
    plan = plan_enrollment(replace(small_config(), precision="bfloat16"), SMALL, 0, DIGITS)
    kit = run_here(plan, DIGITS, Store(str(tmp_path / "results")))
    save_kit(kit, tmp_path / "kit")
    configuration = load_kit(tmp_path / "kit").info.configuration
    assert configuration is not None
    assert configuration["zoo"]["precision"] == "bfloat16"
