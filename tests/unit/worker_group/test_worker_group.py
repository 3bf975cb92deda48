"""Workers of several shares make room for each other, and specs are tried again with patience."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from fake_cluster import Numbered, outcomes

from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.errors import UserError
from uapfp_dist.tasks.outcomes import Failed


def done(pool: Any, *specs: float) -> list[float]:
    """Of `specs`, those that were done within a hundred looks."""
    return sorted(outcome.spec for outcome in outcomes(pool, *specs))


@pytest.mark.parametrize("most", [None, 1, 4])
@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize(
    ("gpus", "first", "second"), [(1, 0.25, 1.0), (1, 1.0, 0.25), (2, 0.25, 1.0), (2, 1.0, 0.25), (2, 0.5, 2.0)]
)
def test_workers_of_another_share_make_room(
    gpus: int, first: float, second: float, elastic: bool, most: int | None, pools: Callable[..., Any]
) -> None:
    """The idle of a share that nothing waits for leave, however many they are."""
    pool = pools(gpus, elastic=elastic, most=most)
    assert done(pool, *[first] * 8) == [first] * 8
    assert done(pool, *[second] * 3) == [second] * 3
    assert done(pool, *[first, second] * 5) == sorted([first, second] * 5)


def test_patience_ends_where_nothing_is_done(pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there are workers: none that could take what waits."""
    pool = pools(1)
    assert done(pool, *[0.25] * 4) == [0.25] * 4
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(pool._workers, "scale", lambda waiting: None)
    assert pool.size
    with pytest.raises(UserError, match="expected a worker within"):
        done(pool, 1.0)


def test_another_try_after_a_transient_failure_comes_after_a_delay(
    pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries at once would all fall into the same short outage."""
    pool, tried = pools(1), list[float]()

    def away(spec: Any, node: str) -> tuple[Failed, float]:
        tried.append(pool.cluster.now)
        return Failed(spec, "OSError: away", transient=True), 0.0

    pool.cluster.perform = away
    found = outcomes(pool, 1.0, seconds=1.0)
    assert [outcome.error for outcome in found] == ["OSError: away (3 times)"]
    assert len(tried) == 3
    assert all(later - earlier >= pool_module.RETRY_SECONDS for earlier, later in pairwise(tried))


@pytest.mark.parametrize(
    ("share", "elastic", "told"),
    [(0.25, True, 2), (1.0, True, 0), (0.25, False, 0)],
    ids=["shared", "whole", "own Ray"],
)
def test_nodes_without_mps_are_named_once(pools: Callable[..., Any], share: float, elastic: bool, told: int) -> None:
    """Each node of a cluster on which workers share a GPU; a Ray of the job's own has said it at its start."""
    pool = pools(1, nodes=2, elastic=elastic)
    pool.cluster.in_turn = True
    outcomes(pool, *[share] * 16, seconds=1.0)
    assert pool._progress.out.getvalue().count("shares its GPU in turn") == told


def test_tasks_are_named_by_their_specs(pools: Callable[..., Any]) -> None:
    """Ray's dashboard and `ray list tasks` say what was begun, and how often."""
    pool = pools(1, share=lambda spec: 1.0)
    assert len(outcomes(pool, Numbered(1), Numbered(2))) == 2
    assert pool.cluster.names == [f"Worker.perform task {Numbered(n).id}" for n in (1, 2)]
