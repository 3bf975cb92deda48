"""Ids are hashes under pinned wire names: those that earlier code computed are frozen here, whatever names change.

`frozen/ids.json` was written by the code before wire names were given apart from the code's own.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from black_images import black

from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig, SiblingConfig, StudyConfig, ZooConfig
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.grid_axes import figure_6, parse_grid
from uapfp_dist.evaluation.grid_cells import make_cells
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS
from uapfp_dist.reporting.grid_report import grid_id
from uapfp_dist.tasks.hashing import Spec, canonical, content_id, omit_default, wire_form, wire_names
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.specs import Recipe
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.plan import plan_enrollment

FROZEN = json.loads((Path(__file__).parents[1] / "frozen" / "ids.json").read_text())


def before(config: Config) -> Config:
    """As it was before there were siblings: none, and the methods that need none."""
    verdict = replace(config.verdict, methods=tuple(PROBE_METHODS))
    config = replace(config, siblings=SiblingConfig(), churn=ChurnConfig(), controls=ControlConfig())
    return as_made_before(replace(config, verdict=verdict))


def as_made_before(config: Config) -> Config:
    """What presets had otherwise: attacks, UAPs that start at full norm, other victims, stopped extractions."""
    config = as_large_as_before(config) if config.zoo.rate_scale != 1.0 else config
    zoo, studies = config.zoo, replace(config.studies, recoveries=StudyConfig().recoveries)
    if zoo.n_other_piracy == (4, 4, 4, 4, 4):
        zoo = replace(zoo, n_other_piracy=(6, 4))
    zoo = replace(zoo, cross_other_piracy=False)
    if studies.n_trajectories == 8:
        studies = replace(studies, n_trajectories=2)
    subspace = replace(config.studies.subspace, start=1.0, largest_cosine=1.0)
    extraction = replace(config.extraction, attacks=("cloudleak", "jacobian"), jacobian_labels="substitute")
    return replace(config, zoo=zoo, extraction=extraction, studies=replace(studies, subspace=subspace))


def as_large_as_before(config: Config) -> Config:
    """What tiny_imagenet-small had: more of everything, and SGD at rates that leave its nets near chance."""
    zoo = replace(config.zoo, rate_scale=1.0, optimizers=ZooConfig().optimizers, epochs=25.0, piracy_margin=0.3)
    return replace(
        config,
        zoo=replace(zoo, n_other_piracy=(6, 4)),
        fingerprint=replace(config.fingerprint, n_test_views=20),
        modifications=ModificationConfig(3, 3, victim=True, adversarial_iterations=120),
        studies=replace(
            config.studies,
            n_subspace=5,
            subspace=replace(config.studies.subspace, n_uaps=64),
            n_trajectories=2,
            n_overlap=2,
        ),
    )


KIT_BEFORE = EnrollConfig(
    groups=("homologous", "same_data", "other_victim"), n_train=8, n_train_piracy=3, n_committee=0, calibration_factor=1
)
"""What a kit was made of before there were siblings."""


def images(config: Config, digits: Dataset) -> Dataset:
    """As many as the configuration's data have."""
    return digits if config.data.name == "digits" else black(config.data.name)


def summed(specs: Iterable[Spec]) -> dict[str, dict[str, object]]:
    """Kind to the number of specs, the first id and a digest of all in their order."""
    kinds: dict[str, list[str]] = {}
    for spec in specs:
        kinds.setdefault(spec.kind, []).append(spec.id)
    return {
        kind: {"n": len(ids), "first": ids[0], "sha256": hashlib.sha256(" ".join(ids).encode()).hexdigest()}
        for kind, ids in kinds.items()
    }


def test_every_preset_is_frozen() -> None:
    assert {name.split("/")[0] for name in FROZEN["plans"]} == set(PRESETS)


@pytest.mark.parametrize("name", sorted(FROZEN["plans"]))
def test_ids_of_a_presets_plan(name: str, digits: Dataset) -> None:
    preset_name, seed = name.split("/")
    config = before(preset(preset_name))
    plan = make_plan(config, int(seed), images(config, digits))
    assert {"plan": plan.id, "data": content_id(plan.data), "specs": summed(plan.specs)} == FROZEN["plans"][name]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_siblings_rename_nothing(name: str, digits: Dataset) -> None:
    """Every spec of before, model, probe or response, is one of the plan with siblings, in the same order."""
    config = as_made_before(replace(preset(name), controls=ControlConfig()))
    data = images(config, digits)
    new, old = (make_plan(each, 0, data) for each in (config, before(config)))
    assert new.id != old.id
    kept = {spec.id for spec in old.specs}
    assert [spec.id for spec in new.specs if spec.id in kept] == [spec.id for spec in old.specs]
    added = [spec.kind for spec in new.specs if spec.id not in kept]
    n, n_queried = config.siblings.n_committee + 2 * config.siblings.n_piracy, len(new.judged)
    assert Counter(added) == {
        "model": n,
        "churn": 1,
        "probe_twin": 1,
        "churn_answers": n_queried,
        "answers": n_queried + config.siblings.n_piracy,
        "references": 2,
        "reference_answers": 2 * n_queried,
    } | ({"pool": 1, "pool_labels": 20, "sibling_points": 1, "sibling_answers": n_queried} if new.exact else {})
    assert [m for m in new.members if m.role not in (Role.SIBLING, Role.SIBLING_PIRACY)] == list(old.members)


@pytest.mark.parametrize(
    ("grid", "id_", "cells"),
    [
        (("verdict.formats=probabilities+label,top3+label",), "516824235bfa2e2cb0db", "verdict.formats=prob+hard"),
        (("verdict.n_resamples=2,3",), "8e4335944a7ac66d6220", "verdict.n_draws=2"),
        (("verdict.train_pool=8,none",), "96d8d156183552a958dd", "verdict.pool=8"),
        (("extraction.soft_labels=probabilities,top3",), "d52927b664724a88d07d", "extraction.soft_labels=soft"),
        (("studies.n_resamples=2", "n_points=10,60"), "618a1552363289c67caf", "studies.n_draws=2 n_points=10"),
        (("encoder.tau=0.1,0.5",), "2dcc77a70655b97c96a6", "encoder.tau=0.1"),
    ],
)
def test_ids_of_grids_over_the_configuration(grid: tuple[str, ...], id_: str, cells: str, digits: Dataset) -> None:
    """As the code before names its axes and values, also where options have new names."""
    found = make_cells(parse_grid(grid), before(preset("digits")), 0, lambda data: digits)
    assert (grid_id(found), found[0].name) == (id_, cells)


@pytest.mark.parametrize("name", sorted(FROZEN["grids"]))
def test_ids_of_figure_6_as_a_grid(name: str, digits: Dataset) -> None:
    preset_name, seed = name.split("/")
    config = before(preset(preset_name))
    data = images(config, digits)
    cells = make_cells(figure_6(config, data.n_classes), config, int(seed), lambda _: data)
    assert {"grid": grid_id(cells), "cells": len(cells)} == FROZEN["grids"][name]


@pytest.mark.parametrize("name", sorted(FROZEN["kits"]))
def test_ids_of_a_kits_plan(name: str, digits: Dataset) -> None:
    preset_name, seed = name.split("/")
    config = before(enroll_preset(preset_name))
    plan = plan_enrollment(before(config), KIT_BEFORE, int(seed), images(config, digits))
    assert {"enrollment": plan.id, "specs": summed(plan.specs)} == FROZEN["kits"][name]


@wire_names("Old", "first second third", price=lambda value: value * 100)
@dataclass(frozen=True)
class Renamed:
    """A dataclass whose wire names are not its own."""

    a: int
    price: int
    new: int = omit_default(0)


def test_there_is_a_wire_name_for_every_field() -> None:
    @dataclass(frozen=True)
    class One:
        one: int

    with pytest.raises(TypeError, match="expected a wire name for each of"):
        wire_names("One", "one two")(One)


def test_wire_names_are_hashed_and_not_those_of_the_code() -> None:
    assert canonical(Renamed(1, 2)) == {"type": "Old", "first": 1, "second": 200}
    assert canonical(Renamed(1, 2, 3)) == {"type": "Old", "first": 1, "second": 200, "third": 3}
    assert wire_form(Renamed(1, 2)) == {"first": 1, "second": 200, "third": 0}


def test_what_has_no_wire_names_is_not_hashed() -> None:
    @dataclass(frozen=True)
    class Bare:
        x: int

    class Child(Config):
        """Inherits none: a field added here would be hashed under its own name."""

    for value in (Bare(1), Child()):
        with pytest.raises(TypeError, match="expected wire names"):
            content_id({"value": value})


def test_a_spec_has_its_wire_name_as_kind() -> None:
    @wire_names("answers", "x")
    @dataclass(frozen=True)
    class Other(Spec):
        x: Any

    assert Other.kind == "answers"
    assert Other(1).id == content_id({"kind": "answers", "x": 1})


def test_seeds_of_the_python_functions_are_those_of_before() -> None:
    """They are made of what a recipe prints: a field that came later is not in it."""
    printed = "Recipe(optimizer='adam', batch_size=64, samples_seen=640, augment=False, precision='float32')"
    assert str(Recipe("adam", 64, 640)) == printed
