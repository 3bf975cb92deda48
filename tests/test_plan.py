"""From a configuration to specs: how many models, which, and that their names mean the same everywhere."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch

from uapfp_dist.config import PRESETS, Config, check, preset
from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.plan import Plan, make_plan
from uapfp_dist.science.data import Dataset
from uapfp_dist.science.extraction import EXTRACTIONS
from uapfp_dist.science.verdict import needed_for
from uapfp_dist.specs import Extracted, ModelSpec, Trained


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    """As large as Fashion-MNIST, and black."""
    return Dataset(
        "fashion_mnist",
        torch.zeros(70_000, 1, 28, 28, dtype=torch.uint8),
        torch.arange(70_000) % 10,
        tuple("0123456789"),
        n_train=60_000,
    )


def plan_of(name: str, digits: Dataset, fashion: Dataset, seed: int = 0) -> Plan:
    """The plan of a preset."""
    config = preset(name)
    return make_plan(config, seed, digits if config.data.name == "digits" else fashion)


ROLE_COUNTS = {
    "digits": {"piracy": 12, "homologous": 29, "soft_piracy": 3, "same_data": 3, "other_victim_piracy": 6},
    "digits-large": {
        "piracy": 20,
        "homologous": 69,
        "soft_piracy": 8,
        "same_data": 8,
        "other_victim_piracy": 16,
    },
    "fashion_mnist-small": {
        "piracy": 16,
        "homologous": 37,
        "soft_piracy": 3,
        "same_data": 4,
        "other_victim_piracy": 10,
    },
    "fashion_mnist": {
        "piracy": 120,
        "homologous": 120,
        "soft_piracy": 12,
        "same_data": 12,
        "other_victim_piracy": 24,
    },
}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_have_their_models(name: str, digits: Dataset, fashion: Dataset) -> None:
    """One victim, two other victims, and everybody whom it takes to judge."""
    plan = plan_of(name, digits, fashion)
    counts = Counter(member.role for member in plan.members)
    assert counts == {"victim": 1, "other_victim": 2, **ROLE_COUNTS[name]}
    assert plan.members[0].role == "victim"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_can_be_decided(name: str, digits: Dataset, fashion: Dataset) -> None:
    """Enough homologous models for the encoder, for calibration at their alpha, and some to test; the check agrees."""
    config = preset(name)
    check(config)
    assert config.verdict.n_calibrate >= needed_for(config.verdict.alpha)
    assert config.zoo.n_homologous > config.verdict.n_train + config.verdict.n_calibrate
    assert len(plan_of(name, digits, fashion).judged) == 1 + sum(ROLE_COUNTS[name].values())


def test_the_papers_fashion_mnist_zoo_has_241_models(digits: Dataset, fashion: Dataset) -> None:
    """Two types x four architectures x three optimizers x ten, and the victim."""
    plan = plan_of("fashion_mnist", digits, fashion)
    cells: Counter[tuple[str, str, str]] = Counter()
    for member in plan.members:
        if member.role in ("piracy", "homologous"):
            cells[member.role, member.spec.architecture, member.spec.recipe.optimizer] += 1
    assert len(cells) == 2 * 4 * 3
    assert set(cells.values()) == {10}
    assert sum(cells.values()) + 1 == 241


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_victims_keep_their_architecture_to_themselves(name: str, digits: Dataset, fashion: Dataset) -> None:
    """A for victims, B to E for everybody else, evenly."""
    architectures: dict[str, Counter[str]] = {}
    for member in plan_of(name, digits, fashion).members:
        architectures.setdefault(member.role, Counter())[member.spec.architecture] += 1
    for role, counts in architectures.items():
        if role in ("victim", "other_victim"):
            assert set(counts) == {"A"}
        else:
            assert set(counts) <= set("BCDE")
            assert role not in ("piracy", "homologous") or set(counts) == set("BCDE")
            assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_origins_are_what_the_roles_say(name: str, digits: Dataset, fashion: Dataset) -> None:
    """Who was stolen from whom with which labels; who was trained on what."""
    plan = plan_of(name, digits, fashion)
    victim = plan.members[0].spec
    others = {member.spec.id for member in plan.members if member.role == "other_victim"}
    labels = {"piracy": "hard", "soft_piracy": "soft", "other_victim_piracy": "hard"}
    robbed = set()
    for member in plan.members:
        origin = member.spec.origin
        if isinstance(origin, Extracted):
            assert origin.labels == labels[member.role]
            assert (origin.victim.id in others) == (member.role == "other_victim_piracy")
            assert origin.victim == victim or origin.victim.id in others
            robbed.add(origin.victim.id)
        else:
            exactly_d_v = member.role in ("victim", "same_data")
            assert origin == Trained("victim_set" if exactly_d_v else "homologous_set")
    assert robbed == {victim.id, *others}
    assert plan.probe.victim == victim


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_attacks_and_architectures_are_crossed(name: str, digits: Dataset, fashion: Dataset) -> None:
    """Every architecture is stolen with every attack: else the attack could not be told from the architecture."""
    pirates = [m.spec for m in plan_of(name, digits, fashion).members if m.role == "piracy"]
    crossed = {(spec.architecture, spec.origin.attack) for spec in pirates if isinstance(spec.origin, Extracted)}
    assert crossed == {(a, attack) for a in "BCDE" for attack in EXTRACTIONS}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_a_spec_needs_is_in_the_plan_before_it(name: str, digits: Dataset, fashion: Dataset) -> None:
    """The order could be worked off as it stands, and no two specs share a name."""
    plan = plan_of(name, digits, fashion)
    done: set[str] = set()
    for spec in plan.specs:
        assert {needed.id for needed in spec.needs} <= done
        assert spec.id not in done
        done.add(spec.id)
    assert len(plan.specs) == len(plan.members) + 1 + len(plan.judged)


def test_matched_zoos_see_equally_many_images(digits: Dataset, fashion: Dataset) -> None:
    """Piracy and homologous models alike, whatever their batch size."""
    for name in PRESETS:
        plan = plan_of(name, digits, fashion)
        n_own = 750 if plan.config.data.name == "digits" else 30_000
        assert {m.spec.recipe.samples_seen for m in plan.members} == {int(plan.config.zoo.epochs * n_own)}


def test_every_model_but_the_victim_is_gated(digits: Dataset, fashion: Dataset) -> None:
    """By the victim's accuracy; the victim has nobody to be measured against."""
    for name in PRESETS:
        plan = plan_of(name, digits, fashion)
        victim, *rest = (member.spec for member in plan.members)
        assert victim.gate is None
        assert all(spec.gate is not None and spec.gate.reference == victim for spec in rest)


ELSEWHERE = """
from uapfp_dist.config import preset
from uapfp_dist.pipeline.plan import make_plan
from uapfp_dist.science.data import load
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
    """Asking for more models trains only those that are new."""

    def grown(config: Config) -> Config:
        zoo = replace(config.zoo, n_piracy=20, n_homologous=60, n_same_data=5, n_other_piracy=(5, 4))
        return replace(config, zoo=zoo)

    larger = {member.spec.id for member in make_plan(grown(digits_plan.config), 0, digits).members}
    assert {member.spec.id for member in digits_plan.members} <= larger


def test_models_of_a_plan_have_seeds_of_their_own(digits_plan: Plan) -> None:
    """No two start from the same weights or train on the same draw."""
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
        (changed("encoder", tau=0.001), "tau"),
        (changed("verdict", methods=("magic",)), "magic"),
        (changed("verdict", alpha=0.0), "alpha"),
    ],
    ids=lambda value: value if isinstance(value, str) else "digits",
)
def test_impossible_configurations_are_refused_before_any_work(broken: Config, word: str) -> None:
    """In one line that names the field or the value."""
    with pytest.raises(UserError, match=word) as caught:
        check(broken)
    assert "\n" not in str(caught.value)


def test_unknown_preset_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"enormous.*digits, digits-large, fashion_mnist"):
        preset("enormous")
