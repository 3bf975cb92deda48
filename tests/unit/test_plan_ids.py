"""Ids of a plan: the same everywhere, and others as soon as anything that matters changes."""

import subprocess
import sys
from dataclasses import replace

from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.tasks.hashing import canonical
from uapfp_dist.tasks.specs import (
    DataSpec,
    ModelSpec,
    Recipe,
    Trained,
)

ELSEWHERE = """
from uapfp_dist.config.presets import preset
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.data import load
plan = make_plan(preset("digits"), 0, load("digits", None))
print(plan.id, *(spec.id for spec in plan.specs))
"""


def test_ids_are_equal_in_every_process(digits_plan: Plan) -> None:
    """Resuming is nothing but finding the same name again."""
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [digits_plan.id, *(spec.id for spec in digits_plan.specs)]


def test_ids_follow_from_seed_data_and_configuration(digits: Dataset, digits_plan: Plan) -> None:
    """Whatever could change a result changes the name of everything that it changes."""
    config = digits_plan.config
    other_data = replace(digits, images=255 - digits.images)
    variants = {
        "seed": make_plan(config, 1, digits),
        "data": make_plan(config, 0, other_data),
        "width": make_plan(replace(config, zoo=replace(config.zoo, width=9)), 0, digits),
        "epochs": make_plan(replace(config, zoo=replace(config.zoo, epochs=31.0)), 0, digits),
    }
    models = {member.spec.id for member in digits_plan.members}
    for name, plan in variants.items():
        assert plan.id != digits_plan.id, name
        assert not models & {member.spec.id for member in plan.members}, name
    margin = make_plan(replace(config, verdict=replace(config.verdict, alpha=0.1)), 0, digits)
    assert margin.id != digits_plan.id
    assert {spec.id for spec in margin.specs} == {spec.id for spec in digits_plan.specs}


def test_a_larger_zoo_keeps_the_models_of_the_smaller(digits: Dataset, digits_plan: Plan) -> None:
    """A zoo of more models trains only those that are new."""

    def grown(config: Config) -> Config:
        zoo = replace(config.zoo, n_piracy=20, n_homologous=60, n_same_data=5, n_other_piracy=(5, 4))
        return replace(config, zoo=zoo)

    larger = {member.spec.id for member in make_plan(grown(digits_plan.config), 0, digits).members}
    assert {member.spec.id for member in digits_plan.members} <= larger


def test_fields_that_came_later_do_not_rename_what_there_is() -> None:
    """At its default a later field is no part of an id; at any other value it is."""
    origin = Trained("homologous_set")
    recipe = Recipe("sgd", 64, 1000)
    data = DataSpec("digits", "0", 0, 0.8, (0.4, 0.3, 0.3))
    spec = ModelSpec(data, "B", 8, recipe, origin, 1)
    assert "augment" not in str(canonical(recipe))
    assert replace(spec, recipe=replace(recipe, augment=True)).id != spec.id
    assert replace(spec, data=replace(data, n_classes=3)).id != spec.id
