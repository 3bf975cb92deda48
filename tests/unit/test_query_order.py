"""What is sent: everything once, a few twice, shuffled, in portions that fit, as fast as allowed."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from query_runs import REQUIRED, Recorder, query, right
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.suspect import TooLargeError
from uapfp_dist.verification.querying.config import QueryConfig, check_query_config
from uapfp_dist.verification.querying.session import N_REPEATS, query_order

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_everything_is_sent_once_and_a_few_twice(tmp_path: Path) -> None:
    suspect = Recorder()
    ledger = query(suspect, tmp_path / "t")
    times = Counter(image for call in suspect.calls for image in call)
    assert right(ledger)
    assert sorted(times.values()) == [1] * (len(REQUIRED) - N_REPEATS) + [2] * N_REPEATS
    assert ledger.queries == len(REQUIRED) + N_REPEATS


def test_the_order_is_shuffled_by_the_seed() -> None:
    orders = [query_order(REQUIRED, seed)[0] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == REQUIRED.tolist() != orders[2]


def test_what_is_sent_twice_spreads_over_the_whole_time() -> None:
    """An endpoint that changes half-way cannot hide."""
    order, again = query_order(REQUIRED, 0)
    places = [order.index(image) for image in again]
    assert max(b - a for a, b in zip(places, [*places[1:], len(order)], strict=True)) <= len(order) / N_REPEATS


def test_the_rate_is_kept(tmp_path: Path) -> None:
    started = time.monotonic()
    query(Recorder(), tmp_path / "t", QueryConfig(rate=200.0, batch_size=10), REQUIRED[:40])
    assert time.monotonic() - started > 40 / 200.0


def test_requests_run_at_once_as_many_as_allowed(tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Slow(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return [[value, 0] for value in images.flatten().tolist()]

    query(Slow(), tmp_path / "t", QueryConfig(concurrency=3, batch_size=4))
    assert most == 3


def test_portions_fit_the_endpoint(tmp_path: Path) -> None:
    """Doubled while it goes well, never above what was refused, and refused only once."""
    suspect = Recorder({6: TooLargeError("HTTP 413")})
    query(suspect, tmp_path / "t", QueryConfig(batch_size=64))
    sizes = [len(call) for call in suspect.calls]
    assert sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert max(sizes[6:]) == 16


@pytest.mark.parametrize(
    "how",
    [
        QueryConfig(max_queries=0),
        QueryConfig(batch_size=0),
        QueryConfig(rate=0.0),
        QueryConfig(timeout=-1.0),
        QueryConfig(tries=0),
    ],
)
def test_numbers_that_make_no_sense_are_refused(how: QueryConfig) -> None:
    with pytest.raises(UserError, match="expected"):
        check_query_config(how)
