"""From a configuration to specs: who is stolen from whom, trained on what, modified how, and in which order."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from black_images import SIZES
from preset_plans import plan_of

from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import Plan, attack_in_turn
from uapfp_dist.response_format import LABEL, PROBABILITIES
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill
from uapfp_dist.tasks.specs import (
    AbsoluteGate,
    Checkpoint,
    Extracted,
    Gate,
    ModelSpec,
    Modified,
    Trained,
)


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
