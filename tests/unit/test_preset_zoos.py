"""How many models of each role a preset has, and that they are enough to decide."""

from collections import Counter
from pathlib import Path

import pytest
from preset_plans import plan_of

from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.validation import check_evaluation
from uapfp_dist.data import Dataset
from uapfp_dist.statistics.auc import FEWEST_VICTIMS
from uapfp_dist.statistics.conformal import needed_for

ROOT = Path(__file__).resolve().parents[2]
HEADLINE = {"piracy": 16, "homologous": 37, "soft_piracy": 3, "same_data": 4, "other_victim_piracy": 20}
LARGE = {"piracy": 20, "homologous": 69, "soft_piracy": 8, "same_data": 8, "other_victim_piracy": 16}
PAPER = {"piracy": 40, "homologous": 40, "soft_piracy": 4, "same_data": 4, "other_victim_piracy": 8}


def extras(modified: int, checkpoints: int, overlap: int) -> dict[str, int]:
    """Beyond the headline; the victim is modified in sixteen ways."""
    return {
        "modified_victim": 16,
        "modified_piracy": modified,
        "modified_homologous": modified,
        "checkpoint_piracy": checkpoints,
        "overlap_homologous": overlap,
    }


SIBLINGS = dict.fromkeys(PRESETS, (10, 10)) | {"digits": (6, 5)}
"""Committee, and models stolen from one further sibling each."""
ALL_CONTROLS = {"other_architecture": 2, "second_hand_piracy": 2, "mixed_piracy": 6}
CONTROLS: dict[str, dict[str, int]] = {name: {} if name == "digits" else ALL_CONTROLS for name in PRESETS}
SMALL = 3 * 16 + 2 * 8
"""Sixteen ways to modify each of three models, and eight stops of adversarial training for two of them."""
ROLE_COUNTS = {
    "digits": {"piracy": 12, "homologous": 29, "soft_piracy": 3, "same_data": 3, "other_victim_piracy": 6},
    "digits-large": LARGE | {"calibration_piracy": 39},
    "fashion_mnist-small": HEADLINE | extras(SMALL, 8 * 10, 10),
    "cifar10-small": HEADLINE | extras(SMALL, 8 * 9, 10),
    "tiny_imagenet-small": HEADLINE | {"other_victim_piracy": 10} | extras(2 * 16 + 2 * 8, 5 * 7, 5),
    "fashion_mnist": {**HEADLINE, "piracy": 120, "homologous": 120, **extras(12 * 16 + 2 * 18, 20 * 10, 50)},
    "cifar10": PAPER | extras(8 * 16 + 2 * 18, 4 * 9, 20),
    "tiny_imagenet": PAPER | extras(4 * 16 + 2 * 18, 4 * 7, 20),
}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_have_their_models(name: str, digits: Dataset) -> None:
    """One victim, other victims, and everybody whom it takes to judge."""
    plan = plan_of(name, digits)
    counts = Counter(member.role for member in plan.members)
    five = name.endswith("-small") or name == "fashion_mnist"
    victims = (FEWEST_VICTIMS if five else 2) + ROLE_COUNTS[name].get("calibration_piracy", 0)
    committee, piracy = SIBLINGS[name]
    siblings = {"sibling": committee + piracy, "sibling_piracy": piracy}
    assert counts == {"victim": 1, "other_victim": victims, **siblings, **CONTROLS[name], **ROLE_COUNTS[name]}
    assert sum(siblings.values()) + sum(CONTROLS[name].values()) <= 40
    assert plan.members[0].role == "victim"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_can_be_decided(name: str, digits: Dataset) -> None:
    """Enough homologous models for the encoder, for calibration at their alpha, and some to test; the check agrees."""
    config = preset(name)
    check_evaluation(config)
    assert config.verdict.n_calibrate >= needed_for(config.verdict.alpha)
    assert config.zoo.n_homologous > config.verdict.n_train + config.verdict.n_calibrate
    assert (
        len(plan_of(name, digits).judged) == 1 + sum((ROLE_COUNTS[name] | CONTROLS[name]).values()) + SIBLINGS[name][1]
    )


@pytest.mark.parametrize(
    ("name", "optimizers", "total"), [("fashion_mnist", 3, 241), ("cifar10", 1, 81), ("tiny_imagenet", 1, 81)]
)
def test_the_papers_zoos_have_its_numbers_of_models(name: str, optimizers: int, total: int, digits: Dataset) -> None:
    """Two types x four architectures (x three optimizers) x ten, and the victim."""
    cells: Counter[tuple[str, str, str]] = Counter()
    for member in plan_of(name, digits).members:
        if member.role in ("piracy", "homologous"):
            cells[member.role, member.spec.architecture, member.spec.recipe.optimizer] += 1
    assert len(cells) == 2 * 4 * optimizers
    assert set(cells.values()) == {10}
    assert sum(cells.values()) + 1 == total


DERIVED = ("modified_", "checkpoint_", "overlap_")
"""Begin the roles of models that are made of others, stopped, or of a chosen overlap."""


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_page_of_presets_counts_their_models(name: str, digits: Dataset) -> None:
    members = plan_of(name, digits).members
    derived = sum(m.role.startswith(DERIVED) for m in members)
    lines = (ROOT / "uapfp_dist" / "data" / "README.md").read_text().splitlines()
    (row,) = [cells for line in lines if len(cells := line.split("|")) == 7 and cells[1] == f" `{name}` "]
    assert [int(cell) for cell in row[3:5]] == [len(members) - derived, derived]
