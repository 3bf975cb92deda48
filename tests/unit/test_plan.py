"""From a configuration to specs: how many models, which, and that their names mean the same everywhere."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from black_images import SIZES, black

from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.schema import Config
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, attack_in_turn, make_plan
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.auc import FEWEST_VICTIMS
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import canonical
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill
from uapfp_dist.tasks.specs import (
    AbsoluteGate,
    Checkpoint,
    DataSpec,
    Extracted,
    Gate,
    ModelSpec,
    Modified,
    Recipe,
    Trained,
)

ROOT = Path(__file__).resolve().parents[2]


@cache
def plan_of(name: str, digits: Dataset, seed: int = 0) -> Plan:
    """The plan of a preset."""
    config = preset(name)
    return make_plan(config, seed, digits if config.data.name == "digits" else black(config.data.name))


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
    check(config)
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


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_victims_keep_their_architecture_to_themselves(name: str, digits: Dataset) -> None:
    """One for victims, the four others for everybody else, evenly."""
    plan = plan_of(name, digits)
    own, others = plan.config.zoo.victim_architecture, set(plan.config.zoo.architectures)
    assert own not in others
    architectures: dict[str, Counter[str]] = {}
    for member in plan.members:
        if member.spec.modifications or member.role in ("checkpoint_piracy", "overlap_homologous"):
            continue
        if member.role == "other_architecture":
            assert member.spec.architecture not in {own, *others}
            continue
        architectures.setdefault(member.role, Counter())[member.spec.architecture] += 1
    for role, counts in architectures.items():
        if role in ("victim", "other_victim", "sibling"):
            assert set(counts) == {own}
        else:
            assert set(counts) <= others
            assert role not in ("piracy", "homologous") or set(counts) == others
            assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_origins_are_what_the_roles_say(name: str, digits: Dataset) -> None:
    """Who was stolen from whom with which labels; who was trained on what."""
    plan = plan_of(name, digits)
    victim = plan.members[0].spec
    others = {member.spec.id for member in plan.members if member.role == "other_victim"}
    roles = {member.spec.id: member.role for member in plan.members}
    siblings = {member.spec.id for member in plan.members if member.role == "sibling"}
    labels = dict.fromkeys(
        ("piracy", "other_victim_piracy", "calibration_piracy", "sibling_piracy", "mixed_piracy"), LABEL
    )
    labels["soft_piracy"] = PROBABILITIES
    victims_of_extraction = set()
    for member in plan.members:
        origin = member.spec.origin
        if isinstance(origin, Modified):
            assert member.role == f"modified_{roles[origin.of.root.id]}"
            assert member.spec.modifications[-1] == origin.modification
        elif isinstance(origin, Checkpoint):
            assert member.spec.extraction is not None
            assert member.spec.extraction.victim == victim
        elif member.role == "overlap_homologous":
            assert isinstance(origin, Trained)
            assert origin.overlap in plan.config.studies.overlaps
        elif member.role == "second_hand_piracy":
            assert isinstance(origin, Extracted)
            assert roles[origin.victim.id] == "piracy"
        elif isinstance(origin, Extracted):
            assert (origin.true_share > 0) == (member.role == "mixed_piracy")
            assert origin.labels == labels[member.role]
            assert (origin.victim.id in others) == (member.role in ("other_victim_piracy", "calibration_piracy"))
            assert (origin.victim.id in siblings) == (member.role == "sibling_piracy")
            assert origin.victim == victim or origin.victim.id in others | siblings
            victims_of_extraction.add(origin.victim.id)
        else:
            exactly_d_v = member.role in ("victim", "same_data", "sibling")
            assert origin == Trained("victim_set" if exactly_d_v else "homologous_set")
    assert plan.churn is not None
    assert victims_of_extraction == {victim.id, *others, *siblings} - {sibling.id for sibling in plan.churn.siblings}
    assert plan.probe.victim == victim


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_attacks_and_architectures_are_crossed(name: str, digits: Dataset) -> None:
    """Every architecture is stolen with every attack: else the attack could not be separated from the architecture."""
    plan = plan_of(name, digits)
    stolen = [m.spec for m in plan.members if m.role == "piracy"]
    crossed = {(spec.architecture, spec.origin.attack) for spec in stolen if isinstance(spec.origin, Extracted)}
    assert crossed == set(product(plan.config.zoo.architectures, plan.config.extraction.attacks))


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.zoo.cross_other_piracy])
def test_models_stolen_from_others_go_on_from_victim_to_victim(name: str, digits: Dataset) -> None:
    """Over all of them, architectures, optimizers and attacks are met as evenly as by the first so many stolen ones."""
    plan = plan_of(name, digits)

    def met(role: str, n: int) -> list[tuple[str, str, str]]:
        specs = [m.spec for m in plan.members if m.role == role][:n]
        extracted = [(s, s.origin) for s in specs if isinstance(s.origin, Extracted)]
        return [(spec.architecture, spec.recipe.optimizer, origin.attack) for spec, origin in extracted]

    others = met("other_victim_piracy", 1000)
    assert len(others) == sum(plan.config.zoo.n_other_piracy)
    n = min(len(others), plan.config.zoo.n_piracy)
    assert others[:n] == met("piracy", n)
    cells = len(plan.config.zoo.architectures) * len(plan.config.zoo.optimizers)
    assert len({(architecture, optimizer) for architecture, optimizer, _ in others}) == min(cells, len(others))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_a_spec_needs_is_in_the_plan_before_it(name: str, digits: Dataset) -> None:
    """The order could be worked off as it stands, and no two specs share a name."""
    plan = plan_of(name, digits)
    done: set[str] = set()
    for spec in plan.specs:
        assert {needed.id for needed in spec.needs} <= done
        assert spec.id not in done
        done.add(spec.id)
    probes = 4 if plan.second_probe else 3
    second = sum(plan.second_response(m) is not None for m in plan.judged)
    trajectories = plan.config.studies.n_trajectories
    models, responses = len(plan.members), len(plan.judged)
    exact = 2 + len(plan.exact.players) + responses if plan.exact else 0  # a pool, what is asked, who says what
    references = len(plan.references) * (1 + responses)
    others = second + trajectories + len(plan.subspaces) + exact + references
    assert len(plan.references) == 2
    assert len(plan.specs) == models + probes + 3 * responses + others


DERIVED = ("modified_", "checkpoint_", "overlap_")
"""Begin the roles of models that are made of others, stopped, or of a chosen overlap."""


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_page_of_presets_counts_their_models(name: str, digits: Dataset) -> None:
    members = plan_of(name, digits).members
    derived = sum(m.role.startswith(DERIVED) for m in members)
    lines = (ROOT / "uapfp_dist" / "data" / "README.md").read_text().splitlines()
    (row,) = [cells for line in lines if len(cells := line.split("|")) == 7 and cells[1] == f" `{name}` "]
    assert [int(cell) for cell in row[3:5]] == [len(members) - derived, derived]


def test_matched_zoos_see_equally_many_images(digits: Dataset) -> None:
    """Piracy and homologous models alike, whatever their batch size."""
    for name in PRESETS:
        plan = plan_of(name, digits)
        n_own = 750 if plan.config.data.name == "digits" else SIZES[plan.config.data.name][1] // 2
        assert {m.spec.recipe.samples_seen for m in plan.members} == {int(plan.config.zoo.epochs * n_own)}


def test_every_model_but_the_victim_is_gated(digits: Dataset) -> None:
    """By the victim's accuracy; the victim has nobody to be measured against.

    What a modification or an unfinished extraction makes of a model is reported, not gated.
    """
    for name in PRESETS:
        plan = plan_of(name, digits)
        victim, *rest = (member.spec for member in plan.members)
        assert victim.gate is None
        for spec in rest:
            if isinstance(spec.origin, Modified | Checkpoint):
                assert spec.gate is None
            elif isinstance(spec.gate, AbsoluteGate):
                assert spec.gate.accuracy == plan.config.siblings.gate
                assert replace(spec, seed=victim.seed, gate=None) == victim  # the victim's recipe, field by field
            else:
                assert isinstance(spec.gate, Gate)
                assert spec.gate.reference == victim


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


def test_architectures_and_attacks_are_crossed() -> None:
    """In as many rounds as there are attacks every architecture meets each of them once, whatever their numbers."""
    base = preset("digits")
    for n, k in product(range(1, 6), range(1, 5)):
        zoo = replace(base.zoo, architectures=tuple("ABCDE"[:n]))
        config = replace(base, zoo=zoo, extraction=replace(base.extraction, attacks=tuple("wxyz"[:k])))
        met = {(i % n, attack_in_turn(config, i)) for i in range(n * k)}
        assert len(met) == n * k, (n, k)


def test_models_of_a_plan_have_seeds_of_their_own(digits_plan: Plan) -> None:
    """No two start from the same weights or train on the same sample."""
    specs: list[ModelSpec] = [member.spec for member in digits_plan.members]
    assert len({spec.seed for spec in specs}) == len(specs)


def changed(part: str, **fields: object) -> Config:
    """The digits preset with some fields of one part changed."""
    config = preset("digits")
    return replace(config, **{part: replace(getattr(config, part), **fields)})


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (changed("data", name="cifar"), "cifar"),
        (changed("zoo", architectures=("B", "Z")), "Z"),
        (changed("zoo", architectures=()), "architecture"),
        (changed("zoo", victim_architecture="Z"), "Z"),
        (changed("zoo", optimizers=("adagrad",)), "adagrad"),
        (changed("zoo", n_piracy=5), "n_piracy"),
        (changed("zoo", n_homologous=6), "n_homologous"),
        (changed("zoo", overlap=1.5), "overlap"),
        (changed("extraction", attacks=("gan",)), "gan"),
        (changed("extraction", budget=0.0), "budget"),
        (changed("uap", xi_fractions=(0.5, 1.5)), "xi_fractions"),
        (changed("uap", xi_grid=()), "xi_grid"),
        (changed("uap", n_uaps=0), "n_uaps"),
        (changed("fingerprint", n_test_views=21), "n_test_views"),
        (changed("fingerprint", n_candidates=59), "n_candidates"),
        (changed("encoder", tau=0.001), "tau"),
        (changed("verdict", methods=("magic",)), "magic"),
        (changed("verdict", alpha=0.0), "alpha"),
        (changed("verdict", train_pool=4), "train_pool"),
        (changed("modifications", n_piracy=13), "n_piracy"),
        (changed("modifications", prune=(0.5, 1.0)), "prune"),
        (changed("modifications", fine_tune=("first",)), "first"),
        (changed("modifications", adversarial_iterations=0), "adversarial_iterations"),
        (changed("modifications", distill_to="Z"), "Z"),
        (changed("studies", recoveries=(0.9, 0.8)), "recoveries"),
        (changed("studies", overlaps=(1.1,)), "overlaps"),
        (changed("siblings", n_committee=1), "n_committee: expected .* at least 2"),
        (changed("siblings", n_committee=0), "n_committee: expected .* at least 2"),
        (changed("siblings", n_committee=0, n_piracy=0), "n_committee: expected siblings for churn"),
        (changed("siblings", gate=1.5), "siblings.gate"),
        (changed("churn", largest_share=1.0), "largest_share"),
        (changed("churn", budgets=(0,)), "churn.budgets"),
        (changed("studies", n_points=(1,)), "n_points"),
    ],
    ids=lambda value: value if isinstance(value, str) else "digits",
)
def test_impossible_configurations_are_refused_before_any_work(broken: Config, word: str) -> None:
    """In one line that names the field or the value."""
    with pytest.raises(UserError, match=word) as caught:
        check(broken)
    assert "\n" not in str(caught.value)


def _numbers(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all fields of numbers."""
    for name, value in vars(config).items():
        if is_dataclass(value) and not isinstance(value, ResponseFormat):
            yield from _numbers(value, (*path, name))
        values = value if isinstance(value, tuple) else (value,)
        if values and all(type(one) in (int, float) for one in values):
            yield (*path, name)


def _with_nan(config: Any, path: tuple[str, ...]) -> Any:
    value = getattr(config, path[0])
    if path[1:]:
        return replace(config, **{path[0]: _with_nan(value, path[1:])})
    return replace(config, **{path[0]: (*value[:-1], math.nan) if isinstance(value, tuple) else math.nan})


@pytest.mark.parametrize("path", list(_numbers(preset("tiny_imagenet-small"))), ids=".".join)
def test_every_number_has_its_range(path: tuple[str, ...]) -> None:
    """What is no number is refused before any work, whichever field it stands in."""
    with pytest.raises(UserError, match=f"{path[-1]}: expected|data.size") as caught:
        check(_with_nan(preset("tiny_imagenet-small"), path))
    assert "\n" not in str(caught.value)


def test_unknown_preset_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"enormous.*cifar10, cifar10-small, digits, digits-large, fashion_mnist"):
        preset("enormous")


def test_models_that_may_not_train_are_queried_with_the_test_views_alone(digits: Dataset) -> None:
    """A pool keeps the queries of a large zoo few."""
    plan = plan_of("fashion_mnist", digits)
    parts = Counter((m.role, plan.response(m).part) for m in plan.judged)
    assert parts["piracy", "all"] == parts["homologous", "all"] == plan.config.verdict.train_pool
    assert parts["victim", "all"] == 1
    assert parts["modified_piracy", "all"] == parts["same_data", "all"] == parts["checkpoint_piracy", "all"] == 0


def test_adversarial_training_goes_on_from_look_to_look(digits: Dataset) -> None:
    """A chain: no iteration is done twice, and every look names the iterations done before it."""
    plan = plan_of("fashion_mnist-small", digits)
    chains = [m.spec for m in plan.members if any(isinstance(x, AdversarialTraining) for x in m.spec.modifications)]
    assert chains
    for spec in chains:
        done = 0
        for change in spec.modifications:
            assert isinstance(change, AdversarialTraining)
            assert change.start == done
            done += change.iterations
        assert done == 30 * len(spec.modifications)


def test_nobody_is_distilled_into_the_own_architecture(digits: Dataset) -> None:
    """The default student is one of the zoo's architectures."""
    for name in ("fashion_mnist-small", "cifar10"):
        students = [m.spec for m in plan_of(name, digits).members if Distill() in m.spec.modifications]
        of = [spec.origin.of for spec in students if isinstance(spec.origin, Modified)]
        assert len(of) == len(students) > 0
        assert all(spec.architecture != model.architecture for spec, model in zip(students, of, strict=True))


def test_fields_that_came_later_do_not_rename_what_there_is() -> None:
    """At its default a later field is no part of an id; at any other value it is."""
    origin = Trained("homologous_set")
    recipe = Recipe("sgd", 64, 1000)
    data = DataSpec("digits", "0", 0, 0.8, (0.4, 0.3, 0.3))
    spec = ModelSpec(data, "B", 8, recipe, origin, 1)
    assert "augment" not in str(canonical(recipe))
    assert replace(spec, recipe=replace(recipe, augment=True)).id != spec.id
    assert replace(spec, data=replace(data, n_classes=3)).id != spec.id
