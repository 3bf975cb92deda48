"""Modifications: one contract for all, then the effect of each on weights and responses."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import MODIFICATIONS, AttackerData, adversarial, int8_structure, modify
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
    Distill,
    FineTune,
    GuessedChurn,
    Int8,
    ModificationSpec,
    PgdTraining,
    Prune,
)
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe("adam", 64, 6400)

EXAMPLES: list[ModificationSpec] = [
    FineTune(2.0),
    FineTune(2.0, "last"),
    FineTune(2.0, "new_last"),
    Prune(0.4),
    Prune(0.4, recovery_epochs=2.0),
    Int8(n_images=50),
    AdversarialTraining(3, labels="own", batch_size=16),
    AdversarialTraining(3, labels="true", batch_size=16),
    Distill(),
    Distill(LABEL),
    Distill(ResponseFormat(3)),
    Distill(images="fresh"),
    PgdTraining(0.05, iterations=3, steps=2, batch_size=16),
    GuessedChurn(2.0),
]


class Normed(Net):
    """A small net with BatchNorm, a grouped convolution without bias, and dropout."""

    def __init__(self, channels: int = 1, n_classes: int = 10) -> None:
        super().__init__(channels)
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(8 * 16, n_classes)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, 8, 8) to (B, 128)."""
        return self.dropout(F.relu(self.norm(self.grouped(F.relu(self.stem(normalised))))).flatten(1))

    def head(self, features: Tensor) -> Tensor:
        """(B, 128) to (B, C)."""
        return self.last(features)


@pytest.fixture(scope="session")
def data(digits: Dataset, digits_splits: Splits) -> AttackerData:
    """Of D outside D_v: 150 labelled images (ATTACK itself has fewer than a batch), the others without labels."""
    outside = outside_of(digits_splits.d, digits_splits.d_v)
    return AttackerData(digits.pixels(outside[:150]), digits.labels[outside[:150]], digits.pixels(outside[150:]))


@pytest.fixture(scope="session")
def normed(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """A trained `Normed`."""
    with seeded(0, CPU):
        net = Normed()
        net.normalise_by(own)
        fit(net, own, digits.labels[digits_splits.d_v], Recipe("adam", 64, 10 * len(own)), torch_rng("order"))
    return net


def trained(name: str, digits: Dataset, splits: Splits, own: Tensor) -> Net:
    """A few epochs of digits."""
    net = build(name, (1, 8, 8), 10, 4, 0, CPU)
    net.normalise_by(own)
    fit(net, own, digits.labels[splits.d_v], Recipe("adam", 64, 6 * len(own)), torch_rng("order"))
    return net


@pytest.fixture(scope="session")
def residual(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """The control with shortcuts."""
    return trained("residual", digits, digits_splits, own)


@pytest.fixture(scope="session")
def mlp(own: Tensor, digits: Dataset, digits_splits: Splits) -> Net:
    """The control without convolutions."""
    return trained("mlp", digits, digits_splits, own)


def student() -> Net:
    """A fresh net of another architecture."""
    return build("C", (1, 8, 8), 10, 4, 5, CPU)


def siblings() -> list[Net]:
    """Fresh nets: they agree on nothing, so that a model departs from them somewhere."""
    return [build("B", (1, 8, 8), 10, 4, i, CPU) for i in range(3)]


def modified(
    net: Net, modification: ModificationSpec, data: AttackerData, seed: int = 0, recipe: Recipe = RECIPE, **more: Any
) -> Net:
    """`modify` with a student and chance by `seed`."""
    return modify(net, modification, data, recipe, torch_rng(seed), student(), siblings=siblings(), **more)


def state(net: nn.Module) -> dict[str, Tensor]:
    """A copy of all that a net holds."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(net: Net, images: Tensor, labels: Tensor) -> float:
    """Share of right responses."""
    return float((predict_probabilities(net, images).argmax(1) == labels).double().mean())


def test_every_spec_has_a_function() -> None:
    assert {type(modification) for modification in EXAMPLES} == set(MODIFICATIONS)
    assert set(MODIFICATIONS) == set(ModificationSpec.__args__)


@pytest.mark.parametrize("modification", EXAMPLES, ids=lambda modification: modification.description)
@pytest.mark.parametrize(
    "which", ["victim", "normed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("residual", "mlp"))]
)
def test_contract_of_every_modification(
    which: str,
    modification: ModificationSpec,
    data: AttackerData,
    held_out: Tensor,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Another net with responses of the same shape, by rng alone; the given nets stay; it can be stored."""
    net: Net = request.getfixturevalue(which)
    before, global_state = state(net), torch.get_rng_state()
    fresh_student = student()
    new = state(fresh_student)
    result = modify(net, modification, data, RECIPE, torch_rng(1), fresh_student, siblings=siblings())
    assert same(state(net), before)
    assert same(state(fresh_student), new)
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), global_state)
    assert not result.training

    responses = predict_probabilities(result, held_out)
    assert responses.shape == (len(held_out), 10)
    assert bool(responses.isfinite().all())
    assert not torch.equal(responses, predict_probabilities(net, held_out))
    assert result.features(held_out[:3]).shape[0] == 3

    torch.manual_seed(1)
    again = modified(net, modification, data, seed=1)
    assert same(state(result), state(again))
    assert torch.equal(predict_probabilities(again, held_out), responses)
    if not (isinstance(modification, Prune) and not modification.recovery_epochs):  # which is not random
        assert not same(state(modified(net, modification, data, seed=2)), state(result))

    store = Store(str(tmp_path))
    store.put("model", "x", result.state_dict(), {})
    kind = fresh_student if isinstance(modification, Distill) else net
    fresh = int8_structure(kind) if isinstance(modification, Int8) else copy.deepcopy(kind)
    fresh.load_state_dict(store.get("model", "x").tensors)
    assert torch.equal(predict_probabilities(fresh, held_out), responses)


@pytest.mark.parametrize("epochs", [1.0, 10.0])
@pytest.mark.parametrize("layers", ["last", "new_last"])
def test_only_the_last_layer_moves(layers: Any, epochs: float, normed: Net, data: AttackerData) -> None:
    """Everything else bit for bit, BatchNorm statistics included; both its weight and its bias do move."""
    before, after = state(normed), state(modified(normed, FineTune(epochs, layers), data))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"last.weight", "last.bias"}


@pytest.mark.parametrize("layers", ["all", "last"])
def test_every_fine_tuning_keeps_to_the_nets_own_rate(layers: Any, normed: Net, data: AttackerData) -> None:
    """A net that asks for no rate at all learns nothing, whichever part of it is trained."""

    class Still(Normed):
        rate_scale: ClassVar[Mapping[str, float]] = {RECIPE.optimizer: 0.0}

    still = Still()
    still.load_state_dict(normed.state_dict())
    tuned = modified(still, FineTune(2.0, layers), data)
    assert torch.equal(tuned.last.weight, normed.last.weight)


def test_fine_tuning_all_moves_all(normed: Net, data: AttackerData) -> None:
    """Every weight and the statistics of BatchNorm; only the pixels' normalisation stays."""
    before, after = state(normed), state(modified(normed, FineTune(1.0), data))
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {"mean", "std"}


def test_fine_tuning_learns_the_attackers_images(victim: Net, data: AttackerData) -> None:
    """With shuffled labels as with true ones, and faster with more epochs: it learns the labels."""
    shuffled = replace(data, labels=(data.labels + 1) % 10)

    def loss(net: Net) -> float:
        return float(F.nll_loss(predict_probabilities(net, shuffled.images).log(), shuffled.labels))

    losses = [loss(modified(victim, FineTune(epochs), shuffled)) for epochs in (2.0, 10.0, 30.0)]
    assert loss(victim) > losses[0] > losses[1] > losses[2]


def test_fine_tuning_keeps_utility(victim: Net, data: AttackerData, held_out: Tensor, held_out_labels: Tensor) -> None:
    """The paper's ten epochs on true labels, on unseen images: utility stays, and so do most responses."""
    tuned = modified(victim, FineTune(), replace(data, images=held_out, labels=held_out_labels))
    rest, labels = data.images, data.labels
    assert accuracy(tuned, rest, labels) > accuracy(victim, rest, labels) - 0.03
    assert accuracy(tuned, rest, predict_probabilities(victim, rest).argmax(1)) > 0.9


def test_a_new_last_layer_forgets_the_old_one(victim: Net, data: AttackerData) -> None:
    """Whatever the old one was."""
    other = copy.deepcopy(victim)
    nn.init.normal_(other.last.weight)  # type: ignore[arg-type, union-attr]
    one, two = (modified(net, FineTune(2.0, "new_last"), data) for net in (victim, other))
    assert same(state(one), state(two))
    one, two = (modified(net, FineTune(2.0, "last"), data) for net in (victim, other))
    assert not same(state(one), state(two))


def weights_of(net: Net) -> Tensor:
    """All weights of convolutions and linear layers in one row."""
    return torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]).detach()


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.999])
def test_pruning_zeroes_exactly_the_smallest_magnitudes(share: float, normed: Net, data: AttackerData) -> None:
    """Over the whole net; what is left and all that is no such weight stays bit for bit."""
    pruned = modified(normed, Prune(share), data)
    old, new = weights_of(normed), weights_of(pruned)
    pruned_away = new == 0.0
    assert int(pruned_away.sum()) == round(share * len(old))
    assert float(old[pruned_away].abs().max()) <= float(old[~pruned_away].abs().min())
    assert torch.equal(new[~pruned_away], old[~pruned_away])
    kinds = (nn.Conv2d, nn.Linear)
    names = {f"{n}.weight" for n, m in normed.named_modules() if isinstance(m, kinds)}
    rest = [{n: t for n, t in state(net).items() if n not in names} for net in (normed, pruned)]
    assert {"norm.weight", "stem.bias", "norm.running_mean"} <= rest[0].keys()
    assert same(*rest)


def test_equal_magnitudes_are_pruned_to_the_exact_share(victim: Net, data: AttackerData) -> None:
    level = copy.deepcopy(victim)
    for module in level.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, -0.1)
    new = weights_of(modified(level, Prune(0.3), data))
    assert int((new == 0.0).sum()) == round(0.3 * len(new))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_recovery_holds_the_zeros_and_recovers(optimizer: str, normed: Net, data: AttackerData) -> None:
    """Momentum or not; all other weights move, and the loss on ATTACK falls."""
    bare = modified(normed, Prune(0.8), data)
    recovered = modified(normed, Prune(0.8, recovery_epochs=5.0), data, recipe=Recipe(optimizer, 64, 1))
    zeros, after = weights_of(bare) == 0.0, weights_of(recovered)
    assert bool((after[zeros] == 0.0).all())
    assert float((after[~zeros] != weights_of(bare)[~zeros]).double().mean()) > 0.8
    losses = [
        float(F.nll_loss(predict_probabilities(net, data.images).log(), data.labels)) for net in (bare, recovered)
    ]
    assert losses[1] < losses[0]


def test_plain_sgd_goes_on_where_it_stopped(normed: Net, data: AttackerData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five iterations and five more are ten, bit for bit, when the images drawn are the same."""
    batches = torch.randint(len(data.images), (10, 8), generator=torch_rng("draws"))
    still = copy.deepcopy(normed)
    for module in still.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0

    def run(modification: AdversarialTraining, net: Net) -> Net:
        rows = iter(batches[modification.start :])
        monkeypatch.setattr(adversarial.torch, "randint", lambda *_, **__: next(rows))
        attacker = adversarial.AttackerContext(data, RECIPE, torch_rng(0), still, None)
        return adversarial.adversarial_training(copy.deepcopy(net), modification, attacker).eval()

    half = AdversarialTraining(5, batch_size=8)
    whole = run(replace(half, iterations=10), still)
    halves = run(replace(half, start=5), run(half, still))
    assert same(state(whole), state(halves))


def test_adversarial_training_moves_the_boundaries_away(victim: Net, data: AttackerData, held_out: Tensor) -> None:
    """The old adversarial examples lose their hold, and new ones have further to go."""
    trained = modified(victim, AdversarialTraining(30), data)
    own = predict_probabilities(victim, held_out).argmax(1)
    old = held_out + deepfool(victim, held_out).delta
    kept = [float((predict_probabilities(net, old).argmax(1) == own).double().mean()) for net in (victim, trained)]
    assert kept[0] < 0.2
    assert kept[1] > 0.6
    norms = [deepfool(net, held_out).delta.flatten(1).norm(dim=1).median() for net in (victim, trained)]
    assert norms[1] > 1.1 * norms[0]


def test_examples_are_crafted_in_evaluation_mode(normed: Net, data: AttackerData) -> None:
    """Of all the forward passes of an iteration, BatchNorm learns from the step's alone."""
    trained = modified(normed, AdversarialTraining(3, batch_size=16), data)
    counts = [net.state_dict()["norm.num_batches_tracked"] for net in (normed, trained)]
    assert int(counts[1] - counts[0]) == 3


def test_own_labels_are_the_teachers(victim: Net, data: AttackerData) -> None:
    """Not the truth, not the current model's: with a teacher that calls everything class 3, so does the student."""
    teacher = copy.deepcopy(victim)
    nn.init.zeros_(teacher.last.weight)  # type: ignore[arg-type, union-attr]
    teacher.last.bias.data = F.one_hot(torch.tensor(3), 10).float()  # type: ignore[union-attr]
    modification = AdversarialTraining(20, start=30, batch_size=16)
    trained = modified(victim, modification, data, teacher=teacher)
    assert accuracy(trained, data.images, torch.full_like(data.labels, 3)) > 0.9
    true = modified(victim, replace(modification, labels="true"), data, teacher=teacher)
    assert accuracy(true, data.images, data.labels) > 0.9
    with pytest.raises(ValueError, match="teacher"):
        modified(victim, modification, data)


def test_true_labels_are_those_of_the_data(victim: Net, data: AttackerData) -> None:
    """With true labels all replaced by class 3, true-label training follows them and own-label training does not."""
    threes = replace(data, labels=torch.full_like(data.labels, 3))
    share = {
        labels: accuracy(
            modified(victim, AdversarialTraining(20, labels=labels, batch_size=16), threes),
            threes.images,
            threes.labels,
        )
        for labels in ("own", "true")
    }
    assert share["true"] > 0.9
    assert share["own"] < 0.2


def test_a_student_learns_a_distribution(victim: Net, data: AttackerData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest probabilities are rescaled, as where a model is stolen by them: every image weighs the same."""
    seen: list[Tensor] = []
    monkeypatch.setattr(
        "uapfp_dist.modifications.distill.fit", lambda net, images, targets, recipe, rng: seen.append(targets)
    )
    modified(victim, Distill(ResponseFormat(2)), data)
    assert int((seen[0] > 0).sum(1).max()) == 2
    torch.testing.assert_close(seen[0].sum(1), torch.ones(len(seen[0])))


@pytest.mark.parametrize("labels", [PROBABILITIES, LABEL, ResponseFormat(1), ResponseFormat(3)], ids=str)
def test_a_student_learns_the_models_responses(
    labels: ResponseFormat, victim: Net, data: AttackerData, held_out: Tensor
) -> None:
    """It agrees with its teacher on images that neither saw, far beyond chance, and never sees a true label."""
    blind = replace(data, labels=torch.zeros_like(data.labels))
    distilled = modified(victim, Distill(labels), blind, recipe=replace(RECIPE, samples_seen=15_000))
    assert accuracy(distilled, held_out, predict_probabilities(victim, held_out).argmax(1)) > 0.7
    assert [p.shape for p in distilled.parameters()] == [p.shape for p in student().parameters()]


@pytest.mark.parametrize(
    ("modification", "message"),
    [
        (Prune(0.0), "share between 0 and 1, got 0.0"),
        (Prune(1.0), "share between 0 and 1, got 1.0"),
        (Prune(float("nan")), "share between 0 and 1, got nan"),
        (Prune(0.4, -1.0), "at least 0 recovery epochs, got -1.0"),
        (FineTune(0.0), "more than 0 epochs, got 0.0"),
        (FineTune(layers="first"), "'first'; known: all, last, new_last"),  # type: ignore[arg-type]
        (Int8(0), "at least 1 image"),
        (AdversarialTraining(0), "got 0 iterations"),
        (AdversarialTraining(3, labels="mine"), "'mine'; known: own, true"),  # type: ignore[arg-type]
    ],
)
def test_bad_specs_are_refused_in_one_line(
    modification: ModificationSpec, message: str, victim: Net, data: AttackerData
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        modified(victim, modification, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("modification", EXAMPLES, ids=lambda modification: modification.description)
def test_a_ruined_net_is_returned(modification: ModificationSpec, victim: Net, data: AttackerData) -> None:
    """Its accuracy is measured like any other."""
    ruined = copy.deepcopy(victim)
    nn.init.constant_(ruined.last.weight, float("nan"))  # type: ignore[arg-type, union-attr]
    assert predict_probabilities(modified(ruined, modification, data), data.images).shape == (len(data.images), 10)


def test_modifications_compose(victim: Net, data: AttackerData, held_out: Tensor) -> None:
    """Prune, fine-tune, adversarial training, INT8, one after the other."""
    net = victim
    for modification in (Prune(0.3), FineTune(1.0), AdversarialTraining(2, batch_size=16), Int8()):
        net = modified(net, modification, data)
    assert accuracy(net, held_out, predict_probabilities(victim, held_out).argmax(1)) > 0.8


@pytest.mark.parametrize(
    ("modification", "name"),
    [
        (FineTune(), "fine-tune"),
        (FineTune(layers="last"), "fine-tune last layer"),
        (FineTune(layers="new_last"), "fine-tune new last layer"),
        (Prune(0.4), "prune .4"),
        (Prune(0.25, 5.0), "prune .25 + recovery"),
        (Int8(), "INT8"),
        (AdversarialTraining(120), "adversarial training 120 (own labels)"),
        (AdversarialTraining(30, 90, "true"), "adversarial training 120 (true labels)"),
        (Distill(), "distillation"),
        (Distill(LABEL), "distillation (hard labels)"),
    ],
)
def test_names_for_tables(modification: ModificationSpec, name: str) -> None:
    assert modification.description == name
