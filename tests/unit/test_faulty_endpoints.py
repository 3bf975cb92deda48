"""Endpoints that fail, hang or restart: fully queried, or given up in time with a line that says why."""

import threading
import time
from pathlib import Path
from typing import Any

import faulty_server as faults
import pytest
from faulty_server import Exchange, serving
from query_runs import BEGIN, IMAGES, REQUIRED, Recorder, first_pixels, over_http, query, right, spent
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.suspect import Suspect, TransientError
from uapfp_dist.verification.querying import session as query_session
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.session import N_REPEATS, FirstResponses, query_all
from uapfp_dist.verification.querying.transcript import Transcript

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.mark.parametrize(
    ("fault", "concurrency"),
    [
        (None, 1),
        (None, 4),
        (faults.every_third_dropped, 1),
        (faults.every_third_dropped, 3),
        (faults.busy_at_first(4), 1),
        (faults.too_large(3), 2),
    ],
)
def test_a_faulty_endpoint_is_fully_queried(fault: Any, concurrency: int, tmp_path: Path) -> None:
    """And the ledger's count is the server's own."""
    with serving(first_pixels, fault) as endpoint:
        ledger = query(over_http(endpoint), tmp_path / "t", QueryConfig(concurrency=concurrency, max_queries=400))
    assert right(ledger)
    assert endpoint.images == ledger.queries <= 400


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.hanging, "no response within"),
        (faults.dripping, "no response within"),
        (faults.dripping_headers, "no response within"),
        (faults.truncated, "no JSON"),
        (faults.cut_short, "no JSON|reset"),
        (faults.busy_at_first(10**6), "HTTP 429"),
        (faults.busy_at_first(10**6, after="3600"), "HTTP 429"),
        (faults.endless, "longer one"),
        (faults.promised_endless, "longer one"),
    ],
)
def test_what_never_works_ends_in_time_with_a_line_that_says_why(fault: Any, said: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with serving(first_pixels, fault) as endpoint, pytest.raises(UserError, match=said) as caught:
        query(over_http(endpoint), tmp_path / "t", QueryConfig(timeout=0.3, total_timeout=10.0, tries=3))
    assert time.monotonic() - started < 10.0
    assert "\n" not in str(caught.value)
    # A request may be given up before the server has seen all of it.
    assert spent(tmp_path / "t") >= endpoint.images


def test_the_total_time_ends_a_request_too(tmp_path: Path) -> None:
    started = time.monotonic()
    with serving(first_pixels, faults.hanging) as endpoint, pytest.raises(UserError, match="total_timeout"):
        query(over_http(endpoint), tmp_path / "t", QueryConfig(timeout=60.0, total_timeout=0.5))
    assert time.monotonic() - started < 5.0


def test_a_function_that_hangs_ends_with_the_total_time(tmp_path: Path) -> None:
    freed = threading.Event()

    class Hanging(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            freed.wait(30)
            return []

    started = time.monotonic()
    with pytest.raises(UserError, match="total_timeout"):
        query(Hanging(), tmp_path / "t", QueryConfig(total_timeout=0.3))
    assert time.monotonic() - started < 5.0
    freed.set()


def test_first_responses_of_another_form_cost_one_image(tmp_path: Path) -> None:
    """A wrong form is reported before all is paid for; the same again queries the rest all the same."""
    form = OutputFormat("probabilities", ("a", "b"))

    def run(suspect: Suspect) -> None:
        transcript = Transcript(tmp_path / "t", BEGIN)
        try:
            query_all(
                suspect, IMAGES, REQUIRED, transcript, QueryConfig(), first=FirstResponses(unreadable=form.parse_error)
            )
        finally:
            transcript.close()

    with serving(lambda images: ["a"] * len(images)) as endpoint:
        with pytest.raises(UserError, match=r"its first answer cannot be read \(expected classes"):
            run(over_http(endpoint))
        assert endpoint.images == 1
        run(over_http(endpoint))
        assert endpoint.images == len(REQUIRED) + N_REPEATS


def test_an_endpoint_that_restarts_is_waited_for(tmp_path: Path) -> None:
    """Nothing is spent on a door that is closed."""
    stop = threading.Event()

    def stops_after_three(exchange: Exchange) -> bool:
        if exchange.number == 3:
            stop.set()
        return False

    found: list[Ledger] = []
    with serving(first_pixels, stops_after_three) as endpoint:
        port = int(endpoint.url.rsplit(":", 1)[1])
        session = threading.Thread(
            target=lambda: found.append(query(over_http(endpoint), tmp_path / "t", QueryConfig(tries=12, batch_size=8)))
        )
        session.start()
        assert stop.wait(10)
    time.sleep(0.3)
    with serving(first_pixels, port=port, endpoint=endpoint):
        session.join(20)
    assert right(found[0])
    assert found[0].failures > 0
    # What lay in the old server's queue was sent and never seen.
    assert endpoint.images <= found[0].queries <= endpoint.images + 2 * 8


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    started = time.monotonic()
    query(Recorder({2: TransientError("busy", retry_after=0.5)}), tmp_path / "t")
    assert 0.5 <= time.monotonic() - started < 5.0


@pytest.mark.parametrize("after", [0.0, -1e9, 1e-3])
def test_no_retry_after_switches_the_own_pause_off(after: float, tmp_path: Path, monkeypatch: Any) -> None:
    """Not 0, not a date that has passed: three failures in a row take .1, .2 and .4 seconds."""
    monkeypatch.setattr(query_session, "FIRST_PAUSE", 0.1)
    started = time.monotonic()
    query(Recorder({n: TransientError("busy", retry_after=after) for n in (2, 3, 4)}), tmp_path / "t")
    assert 0.7 <= time.monotonic() - started < 5.0
