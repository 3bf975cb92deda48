"""What an API gives away, and the ledger of what it was asked."""

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, BudgetExceededError, ask
from uapfp_dist.response_format import check_labels, k_of, top_k
from uapfp_dist.rng import torch_rng

CPU = torch.device("cpu")
LABELS = ["hard", "soft", "top1", "top3"]


def slow_top_k(row: list[float], k: int) -> list[float]:
    """By hand: the largest values, of equal ones the first."""
    kept = sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
    return [value if c in kept else 0.0 for c, value in enumerate(row)]


@pytest.mark.parametrize("k", [1, 2, 3, 9, 10])
def test_top_k_equals_a_reference_by_hand(k: int) -> None:
    """Random rows, rounded so that most hold ties."""
    rows = torch.rand(200, 10, generator=torch_rng("rows")).mul(6).round() / 10
    expected = torch.tensor([slow_top_k(row, k) for row in rows.tolist()])
    assert torch.equal(top_k(rows, k), expected)


def test_exactly_k_of_equal_probabilities_stay() -> None:
    """The lower classes, wherever the ties are; also in a view of 3 dimensions."""
    rows = torch.full((5, 2, 7), 1 / 7)
    masked = top_k(rows, 3)
    assert torch.equal(masked > 0, (torch.arange(7) < 3).expand(5, 2, 7))
    assert torch.equal(masked[..., :3], rows[..., :3])


def test_top_k_neither_renormalises_nor_writes_to_its_input(victim: Net, held_out: Tensor) -> None:
    """What stays is the model's own probability, and no k of C or more changes a bit."""
    answers = ask(victim, held_out)
    before = answers.clone()
    masked = top_k(answers, 3)
    assert torch.equal(answers, before)
    assert torch.equal(masked[masked > 0], answers[masked > 0])
    assert float(masked.sum(1).min()) < 0.99
    for k in (10, 11, 1000):
        assert torch.equal(top_k(answers, k), answers)
    with pytest.raises(UserError, match="at least 1, got 0"):
        top_k(answers, 0)


def test_names_of_labels() -> None:
    """Every form is known, everything else is told the forms, in one line."""
    assert [k_of(name) for name in ("top1", "top3", "top10", "top200")] == [1, 3, 10, 200]
    for name in ("soft", "hard", "top1", "top12"):
        check_labels(name)
    for name in ("", "top", "top0", "top-1", "top03", "top3.0", "top 3", "Top3", "top3\n", "top٣", "3", "prob", "HARD"):
        with pytest.raises(UserError, match="top3") as refused:
            k_of(name)
        assert "\n" not in str(refused.value)
        with pytest.raises(UserError, match=r"hard.*soft.*top3") as refused:
            check_labels(name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("labels", LABELS)
def test_ledger_counts_images_and_refuses_without_spending(labels: str, victim: Net, held_out: Tensor) -> None:
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


def test_a_refused_batch_never_reaches_the_victim(victim: Net, held_out: Tensor) -> None:
    """Counted inside the victim itself."""
    seen: list[int] = []
    hook = victim.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        box = Blackbox(victim, 8, "soft")
        box(held_out[:5])
        with pytest.raises(BudgetExceededError):
            box(held_out[:4])
    finally:
        hook.remove()
    assert sum(seen) == box.queries == 5


def test_what_each_kind_of_label_gives_away(victim: Net, held_out: Tensor) -> None:
    """Soft: all; top3: three values as they are; hard: a label, which is less than top1's probability."""
    soft, hard, top1, top3, top99 = (
        Blackbox(victim, 1000, labels)(held_out) for labels in ("soft", "hard", "top1", "top3", "top99")
    )
    torch.testing.assert_close(soft.sum(1), torch.ones(len(held_out)))
    assert hard.dtype == torch.long
    assert torch.equal(hard, soft.argmax(1))
    assert torch.equal(top3, top_k(soft, 3))
    assert torch.equal(top99, soft)
    assert torch.equal(top1.sum(1), soft.max(1).values)
    assert torch.equal(top1.argmax(1), hard)


@pytest.mark.parametrize("budget", [0, -3])
def test_a_budget_of_nothing_is_refused(budget: int, victim: Net) -> None:
    """Said before anything is trained."""
    with pytest.raises(UserError, match=rf"budget: .*at least 1 query, got {budget}$"):
        Blackbox(victim, budget, "hard")


def test_unknown_labels_are_refused_before_any_query(victim: Net) -> None:
    """Not at the first answer, which would have been spent."""
    with pytest.raises(UserError, match=r"unknown labels 'prob'; known: hard"):
        Blackbox(victim, 10, "prob")


@pytest.mark.parametrize("labels", LABELS)
def test_a_victim_that_answers_nan_is_told_of(labels: str, held_out: Tensor) -> None:
    """As labels its answers would look like any others."""
    broken = build("C", (1, 8, 8), 10, 2, 0, CPU)
    with torch.no_grad():
        broken.last.bias[3] = float("nan")  # type: ignore[union-attr, operator, index]
    with pytest.raises(UserError, match=r"victim: .*NaN for 4 of 4 images; check its weights$"):
        Blackbox(broken, 10, labels)(held_out[:4])
