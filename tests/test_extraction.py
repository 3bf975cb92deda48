"""Stealing: every attack keeps its contract, every query is paid for."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from uapfp_dist.science.blackbox import Blackbox, BudgetExceededError, ask
from uapfp_dist.science.data import Dataset, Splits
from uapfp_dist.science.data.splits import outside_of
from uapfp_dist.science.extraction import EXTRACTIONS, extract
from uapfp_dist.science.rng import torch_rng
from uapfp_dist.science.training import Trainer
from uapfp_dist.science.zoo import Net, build
from uapfp_dist.specs import Labels, Recipe

CPU = torch.device("cpu")


class Recorder(Blackbox):
    """A victim that remembers what it was sent."""

    def __call__(self, images: Tensor) -> Tensor:
        """Answer, and keep the images."""
        answers = super().__call__(images)
        self.sent: list[Tensor] = [*getattr(self, "sent", []), images.clone()]
        return answers


@dataclass(frozen=True)
class Loot:
    """What came of one extraction."""

    net: Net
    ledger: Recorder
    steps: int

    @property
    def queries(self) -> Tensor:
        """All images sent, in order."""
        return torch.cat(self.ledger.sent)


def steal(
    victim: Net,
    pool: Tensor,
    attack: str,
    labels: Labels = "hard",
    *,
    budget: int = 90,
    rounds: int = 3,
    natural_share: float = 0.5,
    samples_seen: int = 1280,
    width: int = 2,
    seed: int = 0,
) -> Loot:
    """Extract `victim` with a small substitute of architecture C."""
    net = build("C", (1, 8, 8), 10, width, seed, CPU)
    trainer = Trainer(net, Recipe("adam", 64, samples_seen), torch_rng("steal", seed))
    ledger = Recorder(victim, budget, labels)
    extract(ledger, pool, trainer, EXTRACTIONS[attack], rounds, natural_share)
    return Loot(net, ledger, trainer.step)


@pytest.fixture(scope="module")
def pool(digits: Dataset, digits_splits: Splits) -> Tensor:
    """The attacker's natural images."""
    return digits.pixels(outside_of(digits_splits.d, digits_splits.d_v))


@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_contract_of_every_attack(attack: str, labels: Labels, victim: Net, pool: Tensor) -> None:
    """The whole budget and no image more, in [0, 1], natural images first, all steps of the recipe, same by seed."""
    loot = steal(victim, pool, attack, labels)
    assert loot.ledger.queries == len(loot.queries) == 90
    assert [len(batch) for batch in loot.ledger.sent] == [45, 15, 15, 15]
    assert float(loot.queries.min()) >= 0.0
    assert float(loot.queries.max()) <= 1.0
    assert bool(loot.queries.isfinite().all())
    natural = [bool((pool == image).flatten(1).all(1).any()) for image in loot.queries]
    assert all(natural[:45])
    assert not any(natural[45:])
    assert loot.steps == 1280 // 64
    again = steal(victim, pool, attack, labels)
    assert torch.equal(loot.queries, again.queries)
    for name, weights in loot.net.state_dict().items():
        assert torch.equal(weights, again.net.state_dict()[name]), name
    assert not torch.equal(loot.queries, steal(victim, pool, attack, labels, seed=1).queries)


@pytest.mark.parametrize("budget", [1, 7, 50, 101])
@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_every_budget_is_spent_to_the_last_image(
    attack: str, rounds: int, budget: int, victim: Net, pool: Tensor
) -> None:
    """Also when rounds do not divide it, and when twelve natural images are all there are."""
    loot = steal(victim, pool[:12], attack, budget=budget, rounds=rounds, natural_share=1.0, samples_seen=128)
    assert loot.ledger.queries == len(loot.queries) == budget
    assert len(loot.ledger.sent[0]) == min(12, budget)


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_no_natural_image_is_paid_for_twice(attack: str, victim: Net, pool: Tensor) -> None:
    """The first batch is drawn without replacement."""
    natural = steal(victim, pool, attack, natural_share=1.0).ledger.sent[0]
    assert len(natural.flatten(1).unique(dim=0)) == len(natural) == 90


@pytest.mark.parametrize("attack", sorted(EXTRACTIONS))
def test_a_thief_learns_the_victims_answers(attack: str, victim: Net, pool: Tensor, held_out: Tensor) -> None:
    """With a fair budget it agrees with the victim on images that neither has seen."""
    loot = steal(victim, pool, attack, budget=700, natural_share=0.6, samples_seen=15_000, width=8)
    agreement = (ask(loot.net, held_out).argmax(1) == ask(victim, held_out).argmax(1)).double().mean()
    assert float(agreement) > 0.7


def test_cloudleak_sends_what_the_substitute_is_least_sure_of(victim: Net, pool: Tensor) -> None:
    """Least confident first, and less sure of them than of natural images."""
    queries = EXTRACTIONS["cloudleak"](victim, pool, pool, 40, torch_rng("cloudleak"))
    confidence = ask(victim, queries).max(1).values
    assert bool((confidence.diff() >= -1e-6).all())
    assert float(confidence.mean()) < float(ask(victim, pool).max(1).values.mean()) - 0.2


def test_jacobian_takes_one_signed_step(victim: Net, pool: Tensor) -> None:
    """Every pixel moves by the step, unless the edge of [0, 1] or a zero gradient stops it."""
    queries = EXTRACTIONS["jacobian"](victim, pool, pool[:1], 2, torch_rng("jacobian"))
    step = (queries - pool[:1]).abs()
    at_edge = (queries == 0.0) | (queries == 1.0)
    assert float(step.max()) <= 0.1 + 1e-6
    assert float((step[~at_edge] - 0.1).abs().max()) < 1e-6


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_ledger_counts_images_and_refuses_without_spending(labels: Labels, victim: Net, held_out: Tensor) -> None:
    """One query is one image. A batch beyond the budget costs nothing and tells nothing; what is left can be spent."""
    box = Blackbox(victim, 10, labels)
    box(held_out[:4])
    box(held_out[4:7])
    assert box.queries == 7
    with pytest.raises(BudgetExceededError, match=r"10 queries: 7 spent, 4 more"):
        box(held_out[:4])
    assert box.queries == 7
    box(held_out[:3])
    assert box.queries == 10
    with pytest.raises(BudgetExceededError):
        box(held_out[:1])


def test_hard_labels_are_the_argmax_of_soft_ones(victim: Net, held_out: Tensor) -> None:
    """Probabilities sum to one; a label gives nothing else away."""
    soft = Blackbox(victim, 1000, "soft")(held_out)
    hard = Blackbox(victim, 1000, "hard")(held_out)
    torch.testing.assert_close(soft.sum(1), torch.ones(len(held_out)))
    assert hard.dtype == torch.long
    assert torch.equal(hard, soft.argmax(1))
