"""Extraction: every attack keeps its contract, every query is counted."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from extractions import CPU, CRAFTING, TOP3, Recorder, RecordingTrainer, extracted
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, DivergedError, extract
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat, top_k
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe


def test_the_registry_names_every_attack() -> None:
    """By its own name; its parameters have defaults, are given by keyword and cannot be changed afterwards."""
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert type(attack)() == attack
        for parameter in fields(attack):
            with pytest.raises(FrozenInstanceError):
                setattr(attack, parameter.name, 0)
            with pytest.raises(TypeError):
                type(attack)(getattr(attack, parameter.name))  # type: ignore[call-arg]
        assert attack.natural_share(0.3) == (0.3 if attack.crafts_queries else 1.0)


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_contract_of_every_attack(attack: str, labels: ResponseFormat, victim: Net, pool: Tensor) -> None:
    """The whole budget and no image more, in [0, 1], natural images first, all steps of the recipe, same by seed."""
    result = extracted(victim, pool, attack, labels)
    crafts = attack in CRAFTING
    assert result.box.queries == len(result.queries) == 90
    assert [len(batch) for batch in result.box.batches] == ([45, 15, 15, 15] if crafts else [90])
    assert float(result.queries.min()) >= 0.0
    assert float(result.queries.max()) <= 1.0
    assert bool(result.queries.isfinite().all())
    natural = [bool((pool == image).flatten(1).all(1).any()) for image in result.queries]
    assert all(natural[:45])
    assert not any(natural[45:]) if crafts else all(natural)
    assert result.steps == 1280 // 64
    again = extracted(victim, pool, attack, labels)
    assert torch.equal(result.queries, again.queries)
    for name, weights in result.net.state_dict().items():
        assert torch.equal(weights, again.net.state_dict()[name]), name
    assert not torch.equal(result.queries, extracted(victim, pool, attack, labels, seed=1).queries)


@pytest.mark.parametrize("budget", [1, 2, 7, 50, 101])
@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_budget_is_spent_and_never_exceeded(
    attack: str, labels: ResponseFormat, budget: int, victim: Net, pool: Tensor
) -> None:
    """With a budget below the number of rounds, one that rounds do not divide, and one above a pool of twelve."""
    for rounds, natural_share in ((1, 1.0), (4, 1.0), (4, 0.3), (3, 0.0)):
        result = extracted(
            victim,
            pool[:12],
            attack,
            labels,
            budget=budget,
            rounds=rounds,
            natural_share=natural_share,
            samples_seen=128,
        )
        spent = budget if attack in CRAFTING else min(budget, 12)
        assert result.box.queries == len(result.queries) == spent
        first = natural_share if attack in CRAFTING else 1.0
        assert len(result.box.batches[0]) == min(12, max(1, int(budget * first)))
        assert all(bool(weights.isfinite().all()) for weights in result.net.parameters())


def test_knockoff_queries_the_whole_pool_and_counts_it(victim: Net, pool: Tensor) -> None:
    """A budget beyond the pool is left over; every natural image was queried once."""
    result = extracted(victim, pool[:12], "knockoff", budget=50, natural_share=0.1)
    assert (result.box.queries, result.box.budget) == (12, 50)
    assert torch.equal(result.queries.flatten(1).unique(dim=0), pool[:12].flatten(1).unique(dim=0))


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_top_k_responses_are_rescaled_to_a_distribution(attack: str, victim: Net, pool: Tensor) -> None:
    """The k largest of the victim's probabilities, in their proportions, sum to 1; the rest is 0."""
    trainer = RecordingTrainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("reader"))
    extract(Blackbox(victim, 60, TOP3), pool, trainer, ATTACKS[attack], rounds=2, natural_share=0.5)
    images, targets = trainer.data
    torch.testing.assert_close(targets.sum(1), torch.ones(60))
    largest = top_k(predict_probabilities(victim, images), 3)
    assert torch.equal(targets > 0, largest > 0)
    torch.testing.assert_close(targets * largest.sum(1, keepdim=True), largest)


def test_more_values_than_classes_is_soft(victim: Net, pool: Tensor) -> None:
    """The same weights, bit for bit; three values are something else."""
    soft, top99, top3 = (
        extracted(victim, pool, "jacobian", labels).net.state_dict()
        for labels in (PROBABILITIES, ResponseFormat(99), TOP3)
    )
    assert all(torch.equal(soft[name], top99[name]) for name in soft)
    assert not all(torch.equal(soft[name], top3[name]) for name in soft)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_no_natural_image_is_paid_for_twice(attack: str, victim: Net, pool: Tensor) -> None:
    """The first batch is drawn without replacement."""
    natural = extracted(victim, pool, attack, natural_share=1.0).box.batches[0]
    assert len(natural.flatten(1).unique(dim=0)) == len(natural) == 90


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_extracted_model_agrees_with_the_victim(attack: str, victim: Net, pool: Tensor, held_out: Tensor) -> None:
    """With a fair budget it agrees with the victim on images that neither has seen."""
    result = extracted(victim, pool, attack, budget=700, natural_share=0.6, samples_seen=15_000, width=8)
    agreement = (
        (predict_probabilities(result.net, held_out).argmax(1) == predict_probabilities(victim, held_out).argmax(1))
        .double()
        .mean()
    )
    assert float(agreement) > 0.7


def test_bad_input_is_reported_in_one_line(victim: Net, pool: Tensor) -> None:
    """Before any query."""
    with pytest.raises(UserError, match=r"^pool: expected at least one natural image.*$"):
        extracted(victim, pool[:0], "knockoff")
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"^natural_share: .*between 0 and 1, got .*$"):
            extracted(victim, pool, "cloudleak", natural_share=share)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_a_substitute_that_diverges_is_reported(attack: str, victim: Net, pool: Tensor) -> None:
    """And sends no images made of NaN."""
    net = build("C", (1, 8, 8), 10, 2, 0, CPU)
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = float("nan")
    box = Recorder(victim, 40, LABEL)
    trainer = Trainer(net, Recipe("adam", 64, 640), torch_rng("nan"))
    with pytest.raises(DivergedError, match=r"^substitute: its weights are not finite after step \d+ of 10; .*$"):
        extract(box, pool, trainer, ATTACKS[attack], rounds=2, natural_share=0.5)
    assert len(box.batches) == 1
