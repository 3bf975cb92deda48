"""Responses of a victim, and the count of its queries."""

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, BudgetExceededError
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat, top_k

CPU = torch.device("cpu")
FORMATS = [LABEL, PROBABILITIES, ResponseFormat(1), ResponseFormat(3)]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_queries_are_counted_and_refused_without_spending(fmt: ResponseFormat, victim: Net, held_out: Tensor) -> None:
    """One query is one image. A batch beyond the budget costs nothing and gets no response; the rest can be spent."""
    box = Blackbox(victim, 10, fmt)
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
        box = Blackbox(victim, 8, PROBABILITIES)
        box(held_out[:5])
        with pytest.raises(BudgetExceededError):
            box(held_out[:4])
    finally:
        hook.remove()
    assert sum(seen) == box.queries == 5


def test_what_each_format_gives_away(victim: Net, held_out: Tensor) -> None:
    """All probabilities; three values as they are; a label, which is less than the largest probability."""
    soft, hard, top1, top3, top99 = (Blackbox(victim, 1000, ResponseFormat(k))(held_out) for k in (None, 0, 1, 3, 99))
    torch.testing.assert_close(soft.sum(1), torch.ones(len(held_out)))
    assert hard.dtype == torch.long
    assert torch.equal(hard, soft.argmax(1))
    assert torch.equal(top3, top_k(soft, 3))
    assert torch.equal(top99, soft)
    assert torch.equal(top1.sum(1), soft.max(1).values)
    assert torch.equal(top1.argmax(1), hard)


@pytest.mark.parametrize("budget", [0, -3])
def test_a_budget_of_nothing_is_refused(budget: int, victim: Net) -> None:
    """Before anything is trained."""
    with pytest.raises(UserError, match=rf"budget: .*at least 1 query, got {budget}$"):
        Blackbox(victim, budget, LABEL)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_victim_that_responds_with_nan_is_reported(fmt: ResponseFormat, held_out: Tensor) -> None:
    """As labels its responses would look like any others."""
    broken = build("C", (1, 8, 8), 10, 2, 0, CPU)
    with torch.no_grad():
        broken.last.bias[3] = float("nan")  # type: ignore[union-attr, operator, index]
    with pytest.raises(UserError, match=r"victim: .*NaN for 4 of 4 images; check its weights$"):
        Blackbox(broken, 10, fmt)(held_out[:4])
