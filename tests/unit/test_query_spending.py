"""What a verification spends: never more than its budget, nothing twice, and all of it on disk before it is sent."""

import time
from pathlib import Path
from typing import Any

import faulty_server as faults
import pytest
import torch
from faulty_server import serving
from query_runs import REQUIRED, Recorder, first_pixels, over_http, query, records_in, right, spent
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.callable import CallableSuspect
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import RefusedInputError, TooLargeError, TransientError
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.session import query_order

pytestmark = pytest.mark.usefixtures("quick_retries")


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


def test_a_function_that_fails_on_the_way_says_what_is_kept(tmp_path: Path) -> None:
    """And that the same again resumes, whatever raised; where nothing is answered there is nothing to keep."""
    gone = Recorder({5: RuntimeError("out of memory")})

    def function(images: Any) -> list[Any]:
        return gone.query(torch.from_numpy((images * 255).round()).to(torch.uint8), 1.0)

    how = QueryConfig(batch_size=1, concurrency=1)
    with pytest.raises(RefusedInputError, match=r"RuntimeError: out of memory; fix it;") as told:
        query(CallableSuspect(function, InputFormat()), tmp_path / "t", how)
    said = "; 4 of 100 images are answered and kept: run it again under the same name to resume"
    assert str(told.value).endswith(said)
    gone = Recorder()
    assert right(query(CallableSuspect(function, InputFormat()), tmp_path / "t", how))
    with pytest.raises(UserError, match=f"^away{said}$"):
        query(Recorder({5: UserError("away")}), tmp_path / "other", how)
    with pytest.raises(UserError, match=r"^away$"):
        query(Recorder({1: UserError("away")}), tmp_path / "first", how)


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


def test_a_query_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """Who dies in the middle cannot forget what was spent."""
    path = tmp_path / "t"

    class Looker(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            responses = super().query(images, timeout)
            assert spent(path) == sum(map(len, self.calls))
            return responses

    query(Looker(), path)
