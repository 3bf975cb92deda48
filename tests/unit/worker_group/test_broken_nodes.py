"""Nodes that fail whatever they are given: what failed there is done elsewhere."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from fake_cluster import SPEC, Numbered, outcomes

from uapfp_dist.cluster import worker_group as group_module
from uapfp_dist.tasks.outcomes import Done, Failed


@dataclass
class Struck:
    """One of eight nodes fails whatever it is given, in no time; on the others a spec takes ten seconds."""

    failed: Callable[[Any], Failed]
    tried: list[tuple[Any, str]]

    def __call__(self, spec: Any, node: str) -> tuple[Any, float]:
        self.tried.append((spec, node))
        return (self.failed(spec), 0.0) if node == "node3" else (Done(spec, 10.0, node), 10.0)


STALE = partial(Failed, error="OSError: stale file handle", transient=True)
CUDA = partial(Failed, error="AcceleratorError: CUDA error: unspecified launch failure", worker_broken=True)


@pytest.mark.parametrize("failed", [STALE, CUDA])
def test_a_broken_node_fails_no_spec(failed: Callable[[Any], Failed], pools: Callable[..., Any]) -> None:
    """It would drain the queue in seconds. What failed there is done elsewhere, and it is given less and less often."""
    pool = pools(1, nodes=8, share=lambda spec: 1.0)
    pool.cluster.perform = struck = Struck(failed, [])
    found = outcomes(pool, *map(Numbered, range(240)), looks=2000, seconds=1.0)
    assert sorted(outcome.spec.number for outcome in found) == list(range(240))
    assert all(isinstance(outcome, Done) for outcome in found)
    there = Counter(spec for spec, node in struck.tried if node == "node3")
    assert there
    assert set(there.values()) == {1}, "never twice"
    workers = pool.cluster.made - 7
    assert workers <= 2 + pool.cluster.now / group_module.PAUSE_SECONDS, "it does not spin"
    assert len(there) <= workers * group_module.MAX_FAILURES
    assert pool.size <= 8


def test_where_all_nodes_fail_a_spec_comes_to_an_end(pools: Callable[..., Any]) -> None:
    """One try on each of three nodes, then no other node is left to it."""
    pool, tried = pools(1, nodes=3, share=lambda spec: 1.0), Counter[str]()

    def perform(spec: Any, node: str) -> tuple[Any, float]:
        tried[node] += 1
        return STALE(spec), 0.0

    pool.cluster.perform = perform
    (outcome,) = outcomes(pool, SPEC, looks=300, seconds=1.0)
    assert outcome.error == "OSError: stale file handle (3 times)"
    assert tried == {"node0": 1, "node1": 1, "node2": 1}


def test_the_only_node_has_another_try(pools: Callable[..., Any]) -> None:
    pool, tried = pools(1, share=lambda spec: 1.0), list[float]()

    def perform(spec: Any, node: str) -> tuple[Any, float]:
        tried.append(pool.cluster.now)
        return (CUDA(spec) if len(tried) < 3 else Done(spec, 0.0, node)), 0.0

    pool.cluster.perform = perform
    (outcome,) = outcomes(pool, SPEC, looks=300, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 3, "each with a new process"
    assert all(later - earlier >= group_module.PAUSE_SECONDS for earlier, later in pairwise(tried))


def test_failures_that_are_no_more_in_a_row_are_forgotten(pools: Callable[..., Any]) -> None:
    """Every other spec fails the first time: that is not the worker's fault."""
    pool, seen = pools(1, share=lambda spec: 1.0), set[Numbered]()

    def perform(spec: Numbered, node: str) -> tuple[Any, float]:
        failed = spec.number % 2 == 0 and spec not in seen
        seen.add(spec)
        return (STALE(spec) if failed else Done(spec, 0.0, node)), 0.0

    pool.cluster.perform = perform
    assert len(outcomes(pool, *map(Numbered, range(20)), looks=300, seconds=1.0)) == 20
    assert pool.cluster.made == 1
