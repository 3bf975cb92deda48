"""What a grid may contain, which cells it has, and what they need anew or share."""

import re
from dataclasses import replace

import pytest
from system import tiny_plan
from tiny_grids import cells_of, small

from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import SiblingConfig
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_axes import figure_6, parse_grid
from uapfp_dist.evaluation.grid_cells import check_axes, shared_specs
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.specs import ModelSpec


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (["n_point=1"], ["unknown name in a grid 'n_point'", "n_points", "top_k", "encoder.tau"]),
        (["encoder.tua=1"], ["unknown name in a grid 'encoder.tua'", "encoder.tau"]),
        (["encoder=1"], ["unknown name in a grid 'encoder'"]),
        (["studies.subspace=1"], ["unknown name in a grid 'studies.subspace'", "studies.subspace.xi"]),
        (["zoo.width.x=1"], ["unknown name in a grid 'zoo.width.x'", "zoo.width"]),
        (["n_points"], ["name=value,value"]),
        (["n_points="], ["name=value,value"]),
        (["n_points=ten"], ["n_points", "expected int or none", "'ten'"]),
        (["verdict.formats=label+top0"], ["verdict.formats", "top<k>", "several joined by +", "'label+top0'"]),
        (["zoo.n_other_piracy=3+x"], ["zoo.n_other_piracy", "expected int, several joined by +", "'3+x'"]),
        (["encoder.loss=hinge"], ["encoder.loss", "expected one of supcon, cross_entropy, autoencoder", "'hinge'"]),
        (["zoo.augment=1,2"], ["zoo.augment", "bool", "'1'"]),
        (["loss=hinge"], ["loss", "supcon", "'hinge'"]),
        (["n_points=3", "n-points=4"], ["n_points", "one list"]),
        (["n_points=11"], ["n_points", "from 2 to", "10", "got 11"]),
        (["n_views=5"], ["n_views", "from 2 to", "got 5"]),
        (["top_k=11"], ["top_k", "from 0 to", "10", "got 11"]),
        (["xi=0.9"], ["xi", "0.5, 0.7", "uap.xi_fractions"]),
        (["architecture=A"], ["architecture", "B, C, D, E", "got A"]),
        (["recovery=0.8"], ["recovery", "studies.n_trajectories"]),
        (["encoder.tau=0.2,0"], ["tau", "from 0.02"]),
        (["zoo.architectures=B+Z"], ["unknown architecture 'Z'"]),
        ([], ["at least one axis"]),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_one_line(grid: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        cells_of(*grid)
    message = str(refusal.value)
    assert "\n" not in message
    assert not re.search(r"typing|Literal|Annotated|NoneType|Optional|<class|\[", message), "a type as Python writes it"
    assert refusal.value.argument == "grid"
    for word in words:
        assert word in message


def test_cells_are_all_combinations_the_last_axis_turning_fastest() -> None:
    cells = cells_of("n_points=3,10", "top_k=0,1,10", "encoder.tau=0.1,0.5")
    assert len({cell.id for cell in cells}) == len(cells) == 12
    assert [cell.name for cell in cells][:3] == [
        "n_points=3 top_k=0 encoder.tau=0.1", "n_points=3 top_k=0 encoder.tau=0.5", "n_points=3 top_k=1 encoder.tau=0.1"
    ]  # fmt: skip
    assert [c.setting.format for c in cells[:6:2]] == [LABEL, ResponseFormat(1), PROBABILITIES], (
        "all of the confidences are probabilities"
    )
    assert {cell.plan.config.encoder.tau for cell in cells} == {0.1, 0.5}


def test_values_take_the_type_of_their_field() -> None:
    (axis,) = parse_grid(["zoo.architectures=B+C,D"])
    assert axis.values == (("B", "C"), ("D",))
    assert parse_grid(["zoo.overlap=none,0,0.5"])[0].values == (None, 0.0, 0.5)
    assert parse_grid(["fingerprint.n-points=3,3,4"])[0].values == (3, 4), "a value given twice is one value"
    assert parse_grid(["encoder.loss=autoencoder"])[0].values == ("autoencoder",)


def test_the_loss_of_the_configuration_is_not_lost() -> None:
    (cell,) = cells_of("encoder.loss=autoencoder")
    assert cell.setting.loss == "autoencoder"


def test_figure_6_is_the_default_and_has_the_evaluation_itself_in_it() -> None:
    points, confidences = figure_6(preset("digits"), 10)
    assert points.values == (10, 20, 30, 40, 50, 60)
    assert confidences.values == (0, 1, 2, 3, 5, 10)


@pytest.mark.parametrize(
    ("axis", "new_models", "new_probes"),
    [
        ("n_points=3,10", False, False),
        ("top_k=0,1", False, False),
        ("loss=autoencoder", False, False),
        ("architecture=B,C", False, False),
        ("encoder.tau=0.1,0.5", False, False),
        ("verdict.n_train=1", False, False),
        ("uap.n_uaps=3", False, True),
        ("fingerprint.n_points=5", False, True),
        ("zoo.overlap=0.5", True, False),
        ("extraction.budget=0.5", True, False),
    ],
)
def test_only_what_an_axis_changes_is_made_anew(axis: str, new_models: bool, new_probes: bool) -> None:
    stored = {spec.id for spec in tiny_plan().specs}
    new = [spec for spec in shared_specs(cells_of(axis)) if spec.id not in stored]
    assert any(isinstance(spec, ModelSpec) for spec in new) == new_models
    assert any(spec.kind == "probe" for spec in new) == new_probes


def test_cells_share_what_they_need() -> None:
    """Two overlaps by three temperatures: two zoos, not six."""
    many = shared_specs(cells_of("zoo.overlap=0,0.5", "encoder.tau=0.1,0.2,0.5"))
    few = shared_specs(cells_of("zoo.overlap=0,0.5"))
    assert [spec.id for spec in many] == [spec.id for spec in few]
    assert len({spec.id for spec in many}) == len(many)


@pytest.mark.parametrize(
    "axis",
    [
        "verdict.n_resamples=5,10",
        "verdict.alpha=0.3,0.5",
        "verdict.formats=label,probabilities",
        "churn.n_points=100,400",
        "siblings.n_committee=4,6",
        "controls.n_mixed=0,2",
        "zoo.n_soft_piracy=1,2",
        "n_points=none,10",
    ],
)
def test_an_axis_that_changes_nothing_measured_is_refused_in_one_line(axis: str) -> None:
    """Equal rows would read as if the setting did not matter; beside an axis that matters it is no better."""
    for grid in ([axis], ["encoder.tau=0.1,0.5", axis], [axis, "encoder.tau=0.1,0.5"]):
        with pytest.raises(UserError) as refusal:
            check_axes(parse_grid(grid), cells_of(*grid))
        assert refusal.value.argument == "grid"
        assert str(refusal.value).startswith(f"grid {axis.split('=')[0]}: expected ")
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "axis",
    [
        "n_points=3,10",
        "n_views=2,4",
        "top_k=0,1,10",
        "xi=0.5,0.7",
        "loss=autoencoder,supcon",
        "architecture=B,C",
        "encoder.tau=0.1,0.5",
        "encoder.loss=autoencoder,supcon",
        "verdict.n_train=1,2",
        "verdict.n_calibrate=1,2",
        "verdict.train_pool=2,3",
        "studies.n_resamples=2,3",
        "uap.n_uaps=2,3",
        "zoo.overlap=0,0.5",
        "siblings.repeated=0.5,1",
        "verdict.alpha=0.3",
    ],
)
def test_an_axis_that_changes_something_measured_is_taken(axis: str) -> None:
    """So is one of a single value, which shows no rows to compare."""
    config = replace(small(), siblings=SiblingConfig(2, 1, 0.2))
    config = replace(config, verdict=replace(config.verdict, n_train=1))
    for grid in ([axis], ["encoder.learning_rate=0.01,0.1", axis]):
        check_axes(parse_grid(grid), cells_of(*grid, config=config))
