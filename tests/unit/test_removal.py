"""Attacks on the evidence: changed labels, PGD, guessed churn, fresh images; each against its own arithmetic."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from system import context_on, tiny, tiny_plan
from torch import Tensor

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import training_set
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation import removal_models
from uapfp_dist.evaluation.modified_models import modified
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution import modifying
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.labels import changed_labels
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.modifications.guessed_churn import guess
from uapfp_dist.modifications.pgd import pgd_examples
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.label_specs import LabelChange
from uapfp_dist.tasks.members import CONTROL_ROLES, Member, Role, members_of
from uapfp_dist.tasks.modification_specs import Distill, FineTune, GuessedChurn, PgdTraining
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Recipe, Trained

CPU = torch.device("cpu")
LABELS = torch.arange(1000) % 10


# Labels


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_noise_changes_so_many_labels_to_others(noise: float) -> None:
    """Exactly the share, each to another class, all other classes alike."""
    found = changed_labels(LABELS, LabelChange(noise), 10, torch_rng("noise"))
    wrong = found != LABELS
    assert int(wrong.sum()) == round(noise * 1000)
    moves = torch.bincount((found - LABELS)[wrong] % 10, minlength=10)[1:]
    expected = noise * 1000 / 9
    assert bool(((moves - expected).abs() <= 4 * expected**0.5).all())
    assert found.dtype == torch.int64


def test_noise_among_probabilities_is_one_hot_elsewhere() -> None:
    soft = F.one_hot(LABELS, 10) * 0.5 + 0.05
    found = changed_labels(soft, LabelChange(0.3), 10, torch_rng("noise"))
    changed = (found != soft).any(1)
    assert int(changed.sum()) == 300
    assert torch.equal(found[~changed], soft[~changed])
    assert torch.equal(found[changed].max(1).values, torch.ones(300))
    assert bool((found[changed].argmax(1) != LABELS[changed]).all())


def test_smoothing_is_that_of_the_loss() -> None:
    """Cross-entropy with smoothed labels is torch's own with label smoothing, for labels and probabilities."""
    logits = torch.randn(50, 7, generator=torch_rng("logits"))
    labels = torch.arange(50) % 7
    soft = torch.rand(50, 7, generator=torch_rng("soft")).softmax(1)
    for targets in (labels, soft):
        smoothed = changed_labels(targets, LabelChange(smoothing=0.2), 7, torch_rng())
        expected = F.cross_entropy(logits, targets, label_smoothing=0.2)
        torch.testing.assert_close(F.cross_entropy(logits, smoothed), expected)


def test_nothing_changes_without_a_change() -> None:
    assert changed_labels(LABELS, LabelChange(), 10, torch_rng()) is LABELS


@pytest.mark.parametrize("change", [LabelChange(1.1), LabelChange(-0.1), LabelChange(0.1, 1.0)])
def test_labels_that_make_no_sense_are_refused(change: LabelChange) -> None:
    with pytest.raises(UserError, match="labels: expected noise from 0 to 1"):
        changed_labels(LABELS, change, 10, torch_rng())


# PGD


def test_pgd_stays_in_its_ball_and_raises_the_loss(victim: Net, held_out: Tensor, held_out_labels: Tensor) -> None:
    """More than the random start does, and more with a larger radius."""

    def loss(images: Tensor) -> float:
        return float(F.cross_entropy(victim(images), held_out_labels).detach())

    found = {r: pgd_examples(victim, held_out, held_out_labels, r, 5, torch_rng("pgd")) for r in (0.02, 0.1)}
    for radius, images in found.items():
        assert float((images - held_out).abs().max()) <= radius + 1e-6
        assert 0.0 <= float(images.min()) <= float(images.max()) <= 1.0
        noise = (torch.rand(held_out.shape, generator=torch_rng("n")) * 2 - 1) * radius
        assert loss(images) > loss((held_out + noise).clamp(0, 1))
    assert loss(found[0.1]) > loss(found[0.02]) > loss(held_out)


def test_pgd_training_makes_a_net_harder_to_fool(victim: Net, pool: Tensor, held_out: Tensor) -> None:
    """And it keeps its own labels: the truth is not asked for."""
    data = AttackerData(pool[:20], torch.full((20,), 3), pool[20:])
    trained = modify(victim, PgdTraining(0.1, iterations=60, batch_size=64), data, Recipe("adam", 64, 640), torch_rng())
    before = predict_probabilities(victim, held_out).argmax(1)

    def kept(net: Net) -> float:
        moved = pgd_examples(net, held_out, before, 0.1, 5, torch_rng("pgd"))
        return float((predict_probabilities(net, moved).argmax(1) == before).double().mean())

    assert kept(trained) > kept(victim) + 0.05
    assert float((predict_probabilities(trained, held_out).argmax(1) == before).double().mean()) > 0.85


# Guessed churn


def test_guesses_are_those_of_a_count_by_hand() -> None:
    rng = torch_rng("guess")
    own = torch.randint(4, (200,), generator=rng)
    votes = torch.randint(4, (200, 5), generator=rng)
    disagrees, targets = guess(own, votes, 4)
    for i in range(200):
        counts = Counter(votes[i].tolist())
        most = max(counts.values())
        label = min(name for name, n in counts.items() if n == most)
        assert bool(disagrees[i]) == (most > counts[int(own[i])])
        assert int(targets[i]) == (label if disagrees[i] else own[i])


def test_a_thief_goes_to_its_siblings(victim: Net, own: Tensor, pool: Tensor, digits: Dataset) -> None:
    """Where the model disagrees with them it follows them afterwards, elsewhere it stays."""
    labels = predict_probabilities(victim, pool).argmax(1)
    siblings = []
    for seed in range(3):
        net = build("A", (1, 8, 8), 10, 8, seed + 1, CPU)
        net.normalise_by(own)
        fit(net, pool, labels, Recipe("adam", 64, 6 * len(pool)), torch_rng(seed))
        siblings.append(net.eval())
    images = (pool + 0.5 * torch.rand(pool.shape, generator=torch_rng("noisy"))).clamp(0, 1)
    votes = torch.stack([predict_probabilities(one, images).argmax(1) for one in siblings], dim=1)
    before = predict_probabilities(victim, images).argmax(1)
    disagrees, targets = guess(before, votes, 10)
    assert 10 < int(disagrees.sum()) < len(images) / 2
    data = AttackerData(pool[:20], torch.zeros(20, dtype=torch.int64), images)
    change = GuessedChurn(100.0)
    after = modify(victim, change, data, Recipe("adam", 64, 640), torch_rng(), siblings=siblings)
    now = predict_probabilities(after, images).argmax(1)
    assert float((now == targets)[disagrees].double().mean()) > 0.7
    assert float((now == before)[~disagrees].double().mean()) > 0.8
    alone = modify(victim, change, data, Recipe("adam", 64, 640), torch_rng(), siblings=[victim, victim])
    assert torch.equal(predict_probabilities(alone, images), predict_probabilities(victim, images)), "disagrees nowhere"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (PgdTraining(0.0), "PGD training: expected a radius above 0"),
        (PgdTraining(0.1, iterations=0), "PGD training: expected a radius above 0"),
        (GuessedChurn(0.0), "guessed churn: expected more than 0 epochs"),
        (GuessedChurn(), "at least 2 siblings"),
    ],
)
def test_attacks_that_make_no_sense_are_refused(change: object, words: str, victim: Net, pool: Tensor) -> None:
    data = AttackerData(pool[:5], torch.zeros(5, dtype=torch.int64), pool[:5])
    with pytest.raises(UserError, match=words):
        modify(victim, change, data, Recipe("adam", 64, 640), torch_rng(), siblings=[victim])  # type: ignore[arg-type]


# Specs


CONFIG = RemovalConfig(n_piracy=2, n_homologous=1)


def test_every_attack_is_a_spec_of_its_own(digits: Dataset) -> None:
    """Stolen and independent models alike; nothing that was there is renamed."""
    before, plan = tiny_plan(), make_plan(replace(tiny(), removal=CONFIG), 0, digits)
    kept = {member.spec.id for member in before.members}
    assert [m for m in plan.members if m.spec.id in kept] == list(before.members)
    added = [m for m in plan.members if m.spec.id not in kept]
    assert len({m.spec.id for m in added}) == len(added)
    assert Counter(m.role for m in added) == {
        Role.RELABELLED_PIRACY: 10, Role.RELABELLED_HOMOLOGOUS: 5,
        Role.MODIFIED_PIRACY: 12, Role.MODIFIED_HOMOLOGOUS: 6,
    }  # fmt: skip
    assert {Role.RELABELLED_PIRACY, Role.RELABELLED_HOMOLOGOUS} <= set(CONTROL_ROLES)
    for member in added:
        assert member.spec.gate is None
        assert bool(member.stolen_from) == (member.role in (Role.RELABELLED_PIRACY, Role.MODIFIED_PIRACY))
    known = {member.spec.id for member in before.members}
    assert all(m.spec.root.id in known for m in added if m.role.startswith("modified_"))
    relabelled = members_of(added, Role.RELABELLED_HOMOLOGOUS)
    described = {describe(m.spec).split(" trained on other images")[-1] for m in relabelled}
    assert described == {
        ", label noise .1", ", label noise .3", ", label smoothing .1", ", label smoothing .3",
        ", label noise .1, guessed churn",
    }  # fmt: skip
    assert not list(removal_models.removal_members(RemovalConfig(), before.members))


def test_what_is_left_out_is_left_out(digits: Dataset) -> None:
    less = RemovalConfig(1, 0, (), (0.1,), (), fresh_distillation=False, n_guessing=0)
    members = list(removal_models.removal_members(less, tiny_plan().members))
    assert [m.spec.origin.label_change for m in members] == [LabelChange(smoothing=0.1)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("removal", "argument"),
    [
        (RemovalConfig(n_guessing=1), "removal.n_guessing"),
        (RemovalConfig(label_noise=(1.5,)), "removal.label_noise"),
        (RemovalConfig(n_piracy=99), "removal.n_piracy"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(removal: RemovalConfig, argument: str) -> None:
    with pytest.raises(UserError) as caught:
        check(replace(tiny(), removal=removal))
    assert caught.value.argument == argument


# Through the store


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A tiny zoo."""
    return tiny_plan()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> TaskContext:
    return context_on(Store(str(tmp_path_factory.mktemp("removal"))))


def make(context: TaskContext, spec: ModelSpec) -> dict[str, object]:
    """Make a model and what it needs; returns its card."""
    for one in dependency_order([spec]):
        if not context.store.has(*one.artifact):
            perform_task(context, one)
    return context.store.get("model", spec.id).info


def first(plan: Plan, role: Role) -> Member:
    return members_of(plan.members, role)[0]


@pytest.mark.parametrize("role", [Role.PIRACY, Role.HOMOLOGOUS])
def test_fresh_images_are_those_that_the_model_was_not_made_with(role: Role, plan: Plan, context: TaskContext) -> None:
    """As many as it was made with; none of them is an image of PROBE or EVAL."""
    spec = first(plan, role).spec
    make(context, spec)
    dataset, splits = context.data(plan.data)
    attackers, used = modifying.attackers_images(context, spec)
    own = attackers.index
    images, natural = modifying._fresh_images(context, spec, 5)
    assert len(images) == max(len(used), len(natural))
    assert not torch.isin(natural, used).any()
    assert torch.isin(natural, torch.cat([splits.d, splits.attack])).all()
    for name in ("probe", "eval"):
        assert not torch.isin(torch.cat([own, natural]), getattr(splits, name)).any()
    before = {image.numpy().tobytes() for image in dataset.pixels(used)}
    assert not before & {image.numpy().tobytes() for image in images}
    if isinstance(spec.origin, Trained):
        assert torch.equal(used, training_set(splits, spec.origin, spec.seed))
    else:
        assert not torch.isin(own, splits.d_v).any(), "a thief has none of the victim's own"


@pytest.mark.parametrize("role", [Role.PIRACY, Role.HOMOLOGOUS])
@pytest.mark.parametrize("change", [LabelChange(), LabelChange(0.2, 0.1)], ids=["plain", "changed"])
def test_siblings_of_a_model_learn_its_very_labels(
    role: Role, change: LabelChange, plan: Plan, context: TaskContext
) -> None:
    """The theft repeated gives the images and labels of the theft that made the stored model, bit for bit."""
    spec = first(plan, role).spec
    if change.noise:
        spec = replace(spec, origin=replace(spec.origin, label_change=change), gate=None)  # type: ignore[arg-type]
    make(context, spec)
    seed = modifying._seed_of_made(context, spec)
    if isinstance(spec.origin, Extracted):
        made, data = modifying.extract_model(context, spec, spec.origin, seed, modifying.order_rng(seed))
        stored = context.store.get("model", spec.id).tensors
        assert all(torch.equal(tensor, stored[name]) for name, tensor in made.net.state_dict().items())
        _, used = modifying.attackers_images(context, spec)
        assert torch.equal(data.images[: len(used)], context.data(plan.data)[0].pixels(used))
    else:
        data = modifying._training_data(context, spec)
        labels = context.data(plan.data)[0].labels[training_set(context.data(plan.data)[1], spec.origin, spec.seed)]  # type: ignore[arg-type]
        same = float((data.targets.argmax(1) if change.noise else data.targets).eq(labels).double().mean())
        assert same == pytest.approx(1 - change.noise, abs=1e-2)
    repeated = modifying._training_data(context, spec)
    assert torch.equal(repeated.images, data.images)
    assert torch.equal(repeated.targets, data.targets)


@pytest.mark.parametrize("role", [Role.PIRACY, Role.HOMOLOGOUS])
def test_every_attack_ends_in_the_store(role: Role, plan: Plan, context: TaskContext) -> None:
    config = RemovalConfig(1, 1, (0.2,), (0.2,), (0.05,), 2, True, 2, 1.0)
    found = [m for m in removal_models.removal_members(config, plan.members) if role.value in m.role]
    assert len(found) == 8
    make(context, first(plan, role).spec)
    base = context.store.get("model", first(plan, role).spec.id)
    for member in found:
        card = make(context, member.spec)
        assert 0.0 <= float(card["accuracy"]) <= 1.0  # type: ignore[arg-type]
        assert card["changes"] == [each.description for each in member.spec.modifications]
    names = {str(context.store.get("model", m.spec.id).info["origin"]) for m in found}
    assert sum("label noise .2" in name for name in names) == 1
    again = context.store.get("model", first(plan, role).spec.id)
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in base.tensors.items())


def test_only_what_was_extracted_or_trained_has_an_attacker(plan: Plan, context: TaskContext) -> None:
    spec = first(plan, Role.PIRACY).spec
    make(context, spec)
    assert describe(modified(spec, Distill(images="fresh"))).endswith("distillation on fresh images")
    odd = modified(spec, FineTune(1.0))
    with pytest.raises(UserError, match="extracted or trained on labels, got Modified"):
        modifying.attackers_images(context, odd)
