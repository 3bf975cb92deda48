"""Knockoff with images of another data set: which models have them, and how they are named."""

from dataclasses import replace

import pytest
from foreign_images import config, stolen, thefts
from system import tiny_plan

from uapfp_dist.config.command_line import config_flags
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_axes import parse_grid
from uapfp_dist.evaluation.grid_cells import make_cells
from uapfp_dist.evaluation.judging import attack_of
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.specs import AttackPool, Extracted
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.plan import plan_enrollment


def test_knockoff_alone_has_the_pool(plan: Plan, others: Dataset) -> None:
    """Of the victim, of other victims, at second hand; whoever mixes true labels in has images of the victim's kind."""
    pool = AttackPool("imagefolder", others.digest)
    with_pool = {(m.role, origin.attack) for m, origin in thefts(plan) if origin.pool == pool}
    without = {(m.role, origin.attack) for m, origin in thefts(plan) if origin.pool is None}
    assert (Role.PIRACY, "knockoff") in with_pool
    assert {role for role, _ in with_pool} >= {Role.PIRACY, Role.SOFT_PIRACY, Role.OTHER_VICTIM_PIRACY}
    assert {attack for _, attack in with_pool} == {"knockoff"}
    assert Role.MIXED_PIRACY not in {role for role, _ in with_pool}
    assert (Role.PIRACY, "jacobian") in without
    assert (Role.MIXED_PIRACY, "knockoff") in without
    assert all(role == Role.MIXED_PIRACY for role, attack in without if attack == "knockoff")


def test_ids_change_for_those_models_alone(plan: Plan, others: Dataset, digits: Dataset) -> None:
    ours, plain = thefts(plan), thefts(make_plan(config(None), 0, digits))
    assert [m.spec.seed for m, _ in ours] == [m.spec.seed for m, _ in plain]
    for (mine, origin), (other, _) in zip(ours, plain, strict=True):
        of_a_thief = mine.role == Role.SECOND_HAND_PIRACY
        assert (mine.spec.id == other.spec.id) == (origin.pool is None and not of_a_thief), describe(mine.spec)
    assert plan.id != make_plan(config(None), 0, digits).id
    changed = replace(others, labels=others.labels.flip(0))
    again = make_plan(config(), 0, digits, changed)
    assert stolen(again).id != stolen(plan).id, "other images of the same name are another pool"
    assert again.id != plan.id, "nor is it the same evaluation"


def test_tables_and_descriptions_name_the_pool(plan: Plan) -> None:
    found = {attack_of(member) for member in plan.members}
    assert found == {"", "jacobian", "knockoff", "knockoff from imagefolder"}
    assert "extracted by knockoff from imagefolder (hard labels)" in describe(stolen(plan))


def test_a_plan_without_its_pool_is_refused(digits: Dataset, others: Dataset) -> None:
    for given in (None, digits):
        with pytest.raises(
            UserError, match=r"expected the images of imagefolder beside .*, got (none|those of digits)"
        ):
            make_plan(config(), 0, digits, given)
    assert make_plan(config(None), 0, digits, others).id == make_plan(config(None), 0, digits).id


@pytest.mark.parametrize(
    ("wrong", "words", "argument"),
    [
        (config(attacks=("cloudleak", "jacobian")), "expected knockoff among the attacks", "extraction.knockoff_pool"),
        (config("digits"), "expected another data set than the victim's", "extraction.knockoff_pool"),
        (config("fashionmnist"), "fashionmnist.*did you mean fashion_mnist", "extraction.knockoff_pool"),
        (config(overlap=0.5), "expected 0 with extraction.knockoff_pool", "extraction.overlap"),
    ],
    ids=["no knockoff", "the victim's own", "unknown", "overlap"],
)
def test_what_cannot_work_is_told_in_one_line(wrong: Config, words: str, argument: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check(wrong)
    assert caught.value.argument == argument
    assert "\n" not in str(caught.value)


def test_an_enrolment_takes_no_pool(digits: Dataset) -> None:
    with pytest.raises(UserError, match="expected none with an enrolment") as caught:
        plan_enrollment(config(), EnrollConfig(), 0, digits)
    assert caught.value.argument == "extraction.knockoff_pool"


def test_the_pool_is_loaded_by_its_name_alone(others: Dataset) -> None:
    """All of it, at its own size, whatever is cut of the victim's images."""
    asked: list[DataConfig] = []

    def loads(data: DataConfig) -> Dataset:
        asked.append(data)
        return others

    cut = replace(config(), data=DataConfig(n_classes=4))
    assert load_pool(cut, loads) is others
    assert asked == [DataConfig(name="imagefolder")]
    assert load_pool(config(None), loads) is None
    assert config_flags(config(), config(None)) == ["--extraction.knockoff-pool", "imagefolder"]


def test_a_grid_varies_it(digits: Dataset, others: Dataset) -> None:
    def loads(data: DataConfig) -> Dataset:
        return others if data.name == "imagefolder" else digits

    cells = make_cells(parse_grid(["extraction.knockoff_pool=none,imagefolder"]), config(None), 0, loads)
    assert [cell.plan.id for cell in cells] == [
        make_plan(config(None), 0, digits).id,
        make_plan(config(), 0, digits, others).id,
    ]


def test_without_the_option_nothing_is_renamed() -> None:
    """Beside the frozen ids: at its default the field is in no id and in no file."""
    plain = tiny_plan()
    spec = members_of(plain.members, Role.PIRACY)[0].spec
    assert isinstance(spec.origin, Extracted)
    assert spec.origin.pool is None
    assert replace(spec, origin=replace(spec.origin, pool=AttackPool("a", "b"))).id != spec.id
    assert preset("digits").extraction.knockoff_pool is None
