"""Workers that do not start: hanging ones are given up, pending ones left alone, a storage that is away waited for."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_cluster import SPEC, Numbered, outcomes

from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.tasks.outcomes import Done, Failed


def test_a_start_that_hangs_is_given_up(pools: Callable[..., Any]) -> None:
    """The last spec would wait for it for ever; one that is merely pending may take as long as machines take."""
    pool = pools(1, share=lambda spec: 1.0)
    starts = iter([1e9, 1e9, 0.0])
    pool.cluster.start = lambda node: (None, next(starts))
    (outcome,) = outcomes(pool, SPEC, looks=4000, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 3
    shown = pool._progress.out.getvalue()
    assert shown.count("could not start: w1 took longer than 600 s") == 1


def test_a_start_that_is_known_to_take_long_is_waited_for(pools: Callable[..., Any]) -> None:
    """However many images there are to decode on a node: with patience for one that hangs before it, too."""
    pool = pools(1, share=lambda spec: 1.0, start_seconds=7200.0)
    starts = iter([1e9, 7000.0])
    pool.cluster.start = lambda node: (None, next(starts))
    (outcome,) = outcomes(pool, SPEC, looks=15_000, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 2
    assert "could not start: w1 took longer than 7200 s" in pool._progress.out.getvalue()


def test_the_pending_are_left_alone(pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", 1e9)
    pool = pools(0, share=lambda spec: 1.0, elastic=True)
    assert outcomes(pool, SPEC, looks=4000, seconds=1.0) == []
    assert pool.cluster.made == len(pool.cluster.actors) == 1


def breaking_once(pool: Any) -> None:
    """The worker has done a spec, and will be lost over the next one."""
    assert len(outcomes(pool, SPEC)) == 1
    worn = [Failed(SPEC, "CUDA error", worker_broken=True)]
    pool.cluster.perform = lambda spec, node: (worn.pop() if worn else Done(spec, 0.0, node), 0.0)


def test_a_storage_that_is_away_when_a_worker_is_replaced_is_waited_for(pools: Callable[..., Any]) -> None:
    """The job does not end, and no place is held for good."""
    pool = pools(1, share=lambda spec: 1.0)
    breaking_once(pool)
    away = UserError("node a: storage s3://b: expected a folder that can be written (no answer); choose another")
    pool.cluster.start = lambda node: (away if pool.cluster.now < 300.0 else None, 10.0)
    (outcome,) = outcomes(pool, SPEC, looks=600, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.now > 300.0
    assert 300.0 / 20.0 - 2 < pool.cluster.made < 300.0 / 20.0 + 4
    assert len(pool.cluster.actors) == 1
    assert "could not start: node a: storage s3://b" in pool._progress.out.getvalue()


def test_before_any_work_a_storage_that_is_away_ends_the_job(pools: Callable[..., Any]) -> None:
    """More likely its address is wrong on that node, and little is lost."""
    pool = pools(1, share=lambda spec: 1.0)
    pool.cluster.start = lambda node: (UserError("storage s3://b: no credentials"), 0.0)
    with pytest.raises(UserError, match="no credentials"):
        outcomes(pool, SPEC)


def test_patience_says_why_no_worker_came(pools: Callable[..., Any]) -> None:
    pool = pools(1, share=lambda spec: 1.0)
    breaking_once(pool)
    pool.cluster.start = lambda node: (UserError("storage s3://b: no credentials"), 0.0)
    with pytest.raises(UserError, match=r"got none \(one could not start: storage s3://b: no credentials\)"):
        outcomes(pool, SPEC, looks=3000, seconds=1.0)


def test_another_storage_is_refused(pools: Callable[..., Any]) -> None:
    """Before any work that is the end; a node that joins later is left out, and its place held."""
    pool = pools(1, nodes=2, share=lambda spec: 1.0, elastic=True)
    strange = MismatchError("storage /s: expected the driver's files here")
    pool.cluster.start = lambda node: (strange if node == "node1" else None, 0.0)
    with pytest.raises(MismatchError):
        outcomes(pool, *map(Numbered, range(4)), looks=50, seconds=1.0)
    pool = pools(1, nodes=1, share=lambda spec: 1.0, elastic=True)
    pool.cluster.start = lambda node: (strange if node == "node1" else None, 0.0)
    assert len(outcomes(pool, SPEC, looks=50, seconds=1.0)) == 1
    pool.cluster.nodes.append("node1")
    assert len(outcomes(pool, *map(Numbered, range(4)), looks=50, seconds=1.0)) == 4
    assert "left out: storage /s" in pool._progress.out.getvalue()
    assert list(pool.cluster.placed().values()).count("node1") == 1
