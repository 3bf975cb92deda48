"""What is sent, how often, at what price: faults of the endpoint, the budget, the transcript, resuming."""

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_server as faults
import pytest
import torch
from faulty_server import Endpoint, Exchange, serving
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import Suspect, TooLargeError, TransientError
from uapfp_dist.verification.querying import session as query_session
from uapfp_dist.verification.querying.config import QueryConfig, check_query_config
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.record_chain import record_of
from uapfp_dist.verification.querying.records import Begin, Judged, decode_record
from uapfp_dist.verification.querying.session import N_REPEATS, FirstResponses, query_all, query_order
from uapfp_dist.verification.querying.transcript import Transcript, read_transcript

IMAGES = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1)
REQUIRED = torch.arange(0, 200, 2)
BEGIN = Begin(kit="a" * 64, suspect={"name": "s", "output": "probabilities"}, judged=Judged(("s",), 0.05))


pytestmark = pytest.mark.usefixtures("quick_retries")


def first_pixels(images: Any) -> list[list[int]]:
    """A model whose response says which image it was sent."""
    return [[round(float(image.ravel()[0] * 255)), 0] for image in images]


class Recorder:
    """A suspect that keeps what it was sent and fails as told."""

    def __init__(self, failures: dict[int, Exception] | None = None) -> None:
        self.calls: list[list[int]] = []
        self._failures = failures or {}

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        self.calls.append(images.flatten().tolist())
        if error := self._failures.get(len(self.calls)):
            raise error
        return [[value, 0] for value in images.flatten().tolist()]


def query(suspect: Suspect, path: Path, how: QueryConfig | None = None, required: Tensor = REQUIRED) -> Ledger:
    """Query fully; the ledger is read back from the file, as a third party would."""
    transcript = Transcript(path, BEGIN)
    try:
        query_all(suspect, IMAGES, required, transcript, how or QueryConfig())
    finally:
        transcript.close()
    return Ledger(read_transcript(path, BEGIN.kit))


def over_http(endpoint: Endpoint) -> Suspect:
    return open_suspect(SuspectConfig(at=endpoint.url), (1, 1, 1), 2)


def right(ledger: Ledger) -> bool:
    """Every required image has a response, and it is its own."""
    own = all(answer == [image, 0] for image, given in ledger.responses.items() for answer in given)
    return own and set(ledger.responses) == set(REQUIRED.tolist())


def records_in(path: Path) -> Ledger:
    """Of a transcript that may not be finished."""
    return Ledger([decode_record(record_of(line)) for line in path.read_bytes().splitlines(keepends=True)])


def spent(path: Path) -> int:
    """Queries in a transcript that may not be finished."""
    return records_in(path).queries


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


@pytest.mark.parametrize("budget", [1, 3, 17, 99, 100, 103, 110, 150])
@pytest.mark.parametrize("concurrency", [1, 5])
def test_the_budget_is_never_exceeded(budget: int, concurrency: int, tmp_path: Path) -> None:
    """Whatever fails; what cannot be finished is said before it is paid for."""
    with serving(first_pixels, faults.every_third_dropped) as endpoint:
        how = QueryConfig(max_queries=budget, concurrency=concurrency, tries=50)
        try:
            finished = right(query(over_http(endpoint), tmp_path / "t", how))
        except UserError as error:
            finished = False
            assert "max_queries" in str(error)  # noqa: PT017
    assert spent(tmp_path / "t") == endpoint.images <= budget
    if budget < len(REQUIRED):
        assert endpoint.images == 0
    assert finished or budget < 2 * len(REQUIRED)


def test_repeats_use_only_what_is_left_of_the_budget(tmp_path: Path) -> None:
    ledger = query(Recorder(), tmp_path / "t", QueryConfig(max_queries=len(REQUIRED) + 3))
    assert right(ledger)
    assert ledger.queries == len(REQUIRED) + 3


def test_an_interrupted_verification_resumes_without_querying_twice(tmp_path: Path) -> None:
    first = Recorder({5: UserError("away")})
    with pytest.raises(UserError, match="away"):
        query(first, tmp_path / "t")
    second = Recorder()
    ledger = query(second, tmp_path / "t")
    answered = {image for call in first.calls[:4] for image in call}
    again = set(query_order(REQUIRED, 0)[1])
    assert answered & {image for call in second.calls for image in call} <= again
    assert right(ledger)
    assert ledger.queries == sum(map(len, first.calls)) + sum(map(len, second.calls))


def test_what_earlier_runs_spent_counts(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        query(Recorder({5: UserError("away")}), tmp_path / "t")
    before = spent(tmp_path / "t")
    suspect = Recorder()
    with pytest.raises(UserError, match="max_queries"):
        query(suspect, tmp_path / "t", QueryConfig(max_queries=before + 10))
    assert suspect.calls == []


def test_what_was_paid_for_is_kept_when_another_request_ends_it(tmp_path: Path) -> None:
    """Answers that were on their way come late, but not too late."""

    class Slow(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            responses = super().query(images, timeout)
            time.sleep(0.3)
            return responses

    suspect = Slow({2: UserError("401")})
    with pytest.raises(UserError, match="401"):
        query(suspect, tmp_path / "t", QueryConfig(concurrency=4))
    assert sorted(records_in(tmp_path / "t").responses) == sorted(
        i for n, call in enumerate(suspect.calls) if n != 1 for i in call
    )


@pytest.mark.parametrize("error", [UserError("401"), TransientError("busy", retry_after=1e6), TooLargeError("413")])
def test_what_is_sent_twice_cannot_hold_up_a_verdict(error: Exception, tmp_path: Path) -> None:
    """All that is required is answered; the endpoint is gone for good, then the budget is less than what was spent."""
    one, n = QueryConfig(batch_size=1), len(REQUIRED)
    ledger = query(Recorder(dict.fromkeys(range(n + 1, n + 99), error)), tmp_path / "t", one)
    assert right(ledger)
    query(Recorder(), tmp_path / "cut", one)
    lines = (tmp_path / "cut").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[: 1 + 2 * n]))
    assert right(query(Recorder(), tmp_path / "cut", QueryConfig(max_queries=50)))


def test_a_finished_transcript_sends_nothing(tmp_path: Path) -> None:
    query(Recorder(), tmp_path / "t")
    size, suspect = (tmp_path / "t").stat().st_size, Recorder()
    query(suspect, tmp_path / "t")
    assert suspect.calls == []
    assert (tmp_path / "t").stat().st_size == size


def test_a_torn_tail_is_dropped_and_sent_again(tmp_path: Path) -> None:
    """Cut anywhere: what was whole stays, and nothing but the last batch is sent again."""
    path = tmp_path / "t"
    query(Recorder(), path)
    whole = path.read_bytes()
    for cut in (1, 40, 200, 500):
        path.write_bytes(whole[:-cut])
        ledger = query(Recorder(), path)
        assert right(ledger)
        assert all(len(given) <= 3 for given in ledger.responses.values())


@pytest.mark.parametrize("change", ["flip", "drop", "swap", "append"])
def test_a_changed_transcript_is_no_evidence(change: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    query(Recorder(), path)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "flip":
        lines[3] = lines[3].replace(b"0", b"1", 1)
    elif change == "drop":
        del lines[4]
    elif change == "swap":
        lines[3], lines[4] = lines[4], lines[3]
    else:
        lines.append(lines[-1])
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match="not what was written"):
        read_transcript(path, "a" * 64)
    with pytest.raises(UserError, match="not what was written"):
        query(Recorder(), path)


def test_a_transcript_belongs_to_one_verification(tmp_path: Path) -> None:
    path = tmp_path / "t"
    query(Recorder(), path)
    with pytest.raises(UserError, match=r"another kit.*Another folder is another test: both verdicts must be reported"):
        Transcript(path, replace(BEGIN, kit="b" * 64))
    with pytest.raises(UserError, match="name the other kit"):
        read_transcript(path, "b" * 64)
    held = Transcript(path, BEGIN)
    with pytest.raises(UserError, match="another verification is writing it; wait for it to end"):
        Transcript(path, BEGIN)
    held.close()


def test_an_unfinished_transcript_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        query(Recorder({3: UserError("away")}), tmp_path / "t")
    with pytest.raises(UserError, match="not finished"):
        read_transcript(tmp_path / "t", "a" * 64)


def test_a_query_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """Who dies in the middle cannot forget what was spent."""
    path = tmp_path / "t"

    class Looker(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            responses = super().query(images, timeout)
            assert spent(path) == sum(map(len, self.calls))
            return responses

    query(Looker(), path)


def test_floats_come_back_as_the_same_bits(tmp_path: Path) -> None:
    values = torch.rand(200, 2, dtype=torch.float64).tolist()

    class Exact(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            return [values[i] for i in images.flatten().tolist()]

    ledger = query(Exact(), tmp_path / "t")
    assert all(ledger.responses[i][0] == values[i] for i in REQUIRED.tolist())


def test_the_rate_is_kept(tmp_path: Path) -> None:
    started = time.monotonic()
    query(Recorder(), tmp_path / "t", QueryConfig(rate=200.0, batch_size=10), REQUIRED[:40])
    assert time.monotonic() - started > 40 / 200.0


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
