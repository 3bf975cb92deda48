"""The front door: its parts do what the library does, on any module."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from front_door import SMALL, linear, world
from torch import Tensor, nn

import uapfp_dist as ufp
from uapfp_dist.api.checks import weights_digest
from uapfp_dist.attacks import ATTACKS
from uapfp_dist.data import Splits
from uapfp_dist.data.splits import training_set
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.perturbations.uap import fooling_rate
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.specs import Trained


def test_the_parts_are_those_of_the_main_job(digits_plan: Plan, digits_splits: Splits) -> None:
    data = world().data
    assert torch.equal(data.splits.d_v, digits_splits.d_v)
    for i, member in enumerate(members_of(digits_plan.members, Role.HOMOLOGOUS)[:3]):
        assert isinstance(member.spec.origin, Trained)
        index = training_set(digits_splits, member.spec.origin, member.spec.seed)
        assert torch.equal(data.homologous(i).images, data.dataset.pixels(index))
        assert torch.equal(data.homologous(i).labels, data.dataset.labels[index])
    parts = (data.victim_set, data.pool, data.probe, data.attacker, data.test)
    assert sum(map(len, parts)) == len(data.dataset.labels), "every image is in one of them"
    assert len(data.homologous(0)) + len(data.homologous_pool(0)) == len(data.victim_set) + len(data.pool)


def test_a_wrapped_module_normalises_and_stays_as_it_is() -> None:
    module = linear()
    before = copy.deepcopy(module.state_dict())
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = ufp.wrap(module, 10, mean=[0.3], std=0.5)
    assert torch.allclose(model(images), module((images - 0.3) / 0.5))
    stolen = ufp.extract(model, images, budget=5, epochs=2, width=2)
    ufp.uap(model, images, xi=1.0, passes=1)
    ufp.finetune(model, ufp.LabelledImages(images, torch.arange(7), 10), epochs=1)
    assert stolen.queries == 5
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(p.requires_grad for p in module.parameters())


class Counted(nn.Module):
    """Counts the images that it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.n = linear(), 0

    def forward(self, images: Tensor) -> Tensor:
        self.n += len(images)
        logits: Tensor = self.inner(images)
        return logits


@pytest.mark.parametrize(("attack", "labels"), zip(ATTACKS, ["label", "probabilities", "top3", "top1"], strict=True))
def test_every_attack_keeps_its_budget(attack: str, labels: str) -> None:
    module, pool = Counted(), world().data.pool.images[:40]
    stolen = ufp.extract(
        ufp.wrap(module, 10), pool, budget=50, attack=attack, labels=labels, rounds=2, epochs=2, width=2, batch_size=16
    )
    assert module.n == stolen.queries == (40 if attack == "knockoff" else 50)


class Failing(Counted):
    """Fails once it was sent more than thirty images."""

    def forward(self, images: Tensor) -> Tensor:
        if self.n > 30:
            raise RuntimeError("connection lost")
        return super().forward(images)


def test_a_victim_that_fails_later_is_not_said_to_take_other_images() -> None:
    """It has answered images of that shape."""
    pool = world().data.pool.images[:40]
    with pytest.raises(RuntimeError, match=r"^connection lost$"):
        ufp.extract(ufp.wrap(Failing(), 10), pool, budget=80, attack="jacobian", rounds=3, epochs=2, width=2)


def test_true_labels_spare_queries() -> None:
    w = world()
    stolen = ufp.extract(w.victim, w.data.pool, budget=100, true_share=0.25, epochs=1, width=2)
    assert stolen.queries == 75


def test_training_follows_from_what_is_given_and_nothing_else() -> None:
    data = world().data
    torch.rand(3)  # the global state has no influence
    same = [ufp.train("C", data.attacker, epochs=1, width=2) for _ in range(2)]
    assert weights_digest(same[0]) == weights_digest(same[1])
    other = ufp.train("C", replace(data.attacker, labels=data.attacker.labels.roll(1)), epochs=1, width=2, seed=0)
    again = ufp.train("C", data.attacker, epochs=1, width=2, seed=1)
    assert len({weights_digest(net) for net in (same[0], other, again)}) == 3


def test_a_factory_is_trained() -> None:
    data = world().data
    net = ufp.train(lambda n_classes, shape: linear(n_classes), data.victim_set, epochs=8)
    assert ufp.accuracy(net, data.test) > 0.8
    assert ufp.accuracy(net, data.test) == pytest.approx(
        float((predict_probabilities(net, data.test.images).argmax(1) == data.test.labels).float().mean())
    )


MODIFICATIONS: dict[str, Callable[[Net, ufp.Data], Net]] = {
    "finetune": lambda net, data: ufp.finetune(net, data.attacker, epochs=2),
    "prune": lambda net, data: ufp.prune(net, 0.5),
    "prune with recovery": lambda net, data: ufp.prune(net, 0.5, data=data.attacker, recovery_epochs=1),
    "int8": lambda net, data: ufp.int8(net, data.attacker),
    "distill": lambda net, data: ufp.distill(net, data.pool, architecture="A", labels="top3", epochs=1, width=2),
    "adversarial_training": lambda net, data: ufp.adversarial_training(net, data.attacker, iterations=1, batch_size=8),
}


@pytest.mark.parametrize("name", MODIFICATIONS)
@pytest.mark.parametrize("kind", ["of this package", "wrapped"])
def test_a_modification_gives_another_model(name: str, kind: str) -> None:
    net = world().stolen[0] if kind == "of this package" else ufp.wrap(linear(), 10)
    before, images = weights_digest(net), world().data.test.images
    modified = MODIFICATIONS[name](net, world().data)
    assert weights_digest(net) == before
    assert weights_digest(modified) != before
    assert modified(images).shape == (len(images), 10)
    if name.startswith("prune"):
        weights = torch.cat([p.flatten() for p in modified.parameters() if p.dim() > 1])
        assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("layers", ["last", "new_last"])
def test_the_last_layer_alone_is_tuned(layers: str) -> None:
    net = world().stolen[0]
    tuned = ufp.finetune(net, world().data.attacker, epochs=1, layers=layers)  # type: ignore[arg-type]
    changed = [name for name, tensor in tuned.state_dict().items() if not torch.equal(tensor, net.state_dict()[name])]
    assert changed == ["last.weight", "last.bias"]


def test_a_uap_reports_its_own_rates() -> None:
    w = world()
    found = ufp.uap(w.victim, w.data.victim_set, xi=1.5, held_out=w.data.probe, passes=2)
    assert found.v.norm() == pytest.approx(1.5, rel=1e-4)
    assert found.fooling_rate == fooling_rate(w.victim, w.data.probe.images, found.v, clip=False)
    searched = ufp.uap(w.victim, w.data.victim_set, target_fooling=0.2, passes=2)
    assert searched.fooling_rate >= 0.2
    assert searched.xi < found.xi, "the smallest radius that does"


@pytest.mark.parametrize("method", METHODS)
def test_a_score_is_that_of_the_library(method: str) -> None:
    """Scored at once with the training models, encoders fitted anew."""
    w = world()
    output = "probabilities" if method == "confidence" else "top3"
    fingerprint = ufp.Fingerprint(method, output=output, **SMALL).fit(w.victim, w.data, **w.groups)  # type: ignore[arg-type]
    suspects = [w.victim, w.stolen[0], w.independent[0]]
    scores = [fingerprint.score(model) for model in suspects]
    assert fingerprint.score(suspects[1]) == scores[1], "asked twice it says the same"
    fitted = fingerprint._fitted
    assert fitted is not None
    answers = [*fitted.answers, *(fitted.queries.ask(model, "test") for model in suspects)]
    matrix = fitted.queries.matrix([*fitted.members, *fitted.members[:3]], answers)
    library = METHODS[method].score(replace(fitted.request, matrix=matrix, memo={}))[0, -3:]
    assert scores == pytest.approx([float(row.mean()) for row in library.double()], abs=1e-4)
    assert scores[0] >= max(scores[1:]) or METHODS[method].learned or method == "confidence"
    assert fingerprint.queries == matrix.n_query_images(*METHODS[method].query_blocks(fitted.request.candidate))


def test_all_radii_and_the_richest_format_are_taken() -> None:
    w, chosen = world(), {}
    for method, output in (("uap", "probabilities"), ("uap", "label"), ("weighted_errors", "top3"), ("sac", "top3")):
        fingerprint = ufp.Fingerprint(method, output=output, **SMALL).fit(w.victim, w.data, **w.groups)  # type: ignore[arg-type]
        assert fingerprint._fitted is not None
        candidate = fingerprint._fitted.request.candidate
        chosen[method, output] = (candidate.wire, str(candidate.format))
    assert chosen == {
        ("uap", "probabilities"): ("uap@0.5+uap@0.7", "probabilities"),
        ("uap", "label"): ("uap@0.5+uap@0.7", "label"),
        ("weighted_errors", "top3"): ("natural", "label"),
        ("sac", "top3"): ("natural", "top3"),
    }


def test_a_fit_learns_from_its_models() -> None:
    """Stolen and independent models swapped, the scores turn round."""
    w = world()
    given = {"stolen": w.stolen, "independent": w.independent}
    swapped = {"stolen": w.independent, "independent": w.stolen}
    right, wrong = (
        ufp.Fingerprint("weighted_errors", **SMALL).fit(w.victim, w.data, **models)  # type: ignore[arg-type]
        for models in (given, swapped)
    )
    assert right.score(w.stolen[0]) > right.score(w.independent[0])
    assert wrong.score(w.stolen[0]) < wrong.score(w.independent[0])


def test_numbers_of_a_fingerprint_are_those_that_were_given() -> None:
    """Of its own arguments, else of the section."""
    churn = ufp.Fingerprint("churn", churn=ChurnConfig(n_points=1000))
    assert churn._settings.churn.n_points == 1000
    assert ufp.Fingerprint("churn")._settings.churn.n_points == 400
    assert ufp.Fingerprint("churn", n_churn=7, churn=ChurnConfig(n_points=1000))._settings.churn.n_points == 7
    many = ufp.Fingerprint("natural_errors", n_natural=3000)._settings.fingerprint
    assert (many.n_natural, many.max_natural) == (3000, 3000)
    few = ufp.Fingerprint("natural_errors", n_natural=10, n_views=5)._settings.fingerprint
    assert (few.n_natural, few.max_natural, few.n_test_views) == (10, 1000, 5)
