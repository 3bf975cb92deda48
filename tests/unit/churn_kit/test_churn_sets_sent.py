"""What is sent with a set of churn points: evidence first, and nothing of another set."""

from dataclasses import replace

import pytest
import torch
from kits import BUDGETS, FORMATS, SET_POINTS, SETS

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.verification.kit.kit import Kit


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_no_more_is_sent_than_allowed_and_evidence_first(fmt: ResponseFormat, kit: Kit) -> None:
    assert kit.churn is not None
    assert kit.input_check is not None
    first = kit.input_check.first.tolist()
    for point_set in range(SETS):
        points = kit.churn.points[point_set].tolist()
        everything = kit.required_images(fmt, None, point_set).tolist()
        assert everything[: len(first) + SET_POINTS] == [*first, *points]
        for budget in range(len(first) + BUDGETS[0], len(kit.images) + 1):
            sent = kit.required_images(fmt, budget, point_set).tolist()
            n = max(b for b in BUDGETS if b <= budget - len(first))
            assert len(sent) == len(set(sent)) <= budget
            assert sent[: len(first) + n] == [*first, *points[:n]]
            assert kit.n_churn_points(budget) == n
            assert set(sent) <= set(everything)
    with pytest.raises(UserError, match=f"max_queries: expected at least {len(first) + BUDGETS[0]} images"):
        kit.required_images(fmt, len(first) + BUDGETS[0] - 1)


def test_no_set_is_spent_by_another(kit: Kit) -> None:
    """Not even by errors of the victim that stand in another set: what is sent with one shows nothing of the others."""
    assert kit.churn is not None
    if len(kit.natural):
        kit = replace(kit, natural=torch.cat([kit.natural[:-2], kit.churn.points[1:, 0]]))
    for point_set in range(SETS):
        sent = set(kit.required_images(LABEL, None, point_set).tolist())
        others = kit.churn.points[[s for s in range(SETS) if s != point_set]]
        assert not sent & set(others.flatten().tolist())
        assert sent >= set(kit.churn.points[point_set].tolist())
