"""From a kit and a suspect to a verdict over HTTP: faults on the way, budgets, what is settled, and resuming."""

import json
import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import faulty_server as faults
import numpy as np
import pytest
import torch
from faulty_server import Exchange, serving
from system import ROOT, environment, wait_until
from toy_kit import negative, responses_of, serve, toy_kit, trained
from toy_suspects import judged, labels_of

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.querying import session as query_session
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.reports.verdict_file import verdict_json
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
@pytest.mark.parametrize("output", ["probabilities", "label"])
@pytest.mark.parametrize(("stolen", "claim"), [(True, "piracy"), (False, "inconclusive")])
def test_the_right_claim_over_http(method: str, output: str, stolen: bool, claim: str, tmp_path: Path) -> None:
    """With the local model's own scores, and the server's own count."""
    kit, net = toy_kit(method), trained(0) if stolen else negative()
    with serving(labels_of(net) if output == "label" else serve(net)) as endpoint:
        case = judged(endpoint, tmp_path, method, output=output)
    local = responses_of(net, kit.images)
    local = torch.eye(10)[local.argmax(1)] if output == "label" else local
    assert case.verdict.claim == claim
    assert case.verdict.decided_by == method
    assert (case.probabilities - local).abs().max() < 1e-6  # one image at first: other last digits
    assert case.ledger.queries == endpoint.images == len(kit.images) + query_session.N_REPEATS


FAULTS: dict[str, Any] = {
    "every third connection dropped": faults.every_third_dropped,
    "busy for a while": faults.busy_at_first(3),
    "small requests only": faults.too_large(8),
    "hanging at first": faults.at_first(2, faults.hanging),
    "truncated JSON at first": faults.at_first(3, faults.truncated),
    "cut off at first": faults.at_first(3, faults.cut_short),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_endpoint_gets_the_verdict_of_a_good_one(name: str, tmp_path: Path) -> None:
    with serving(serve(trained(0))) as good, serving(serve(trained(0)), FAULTS[name]) as faulty:
        plain, same = (
            judged(good, tmp_path / "a"),
            judged(faulty, tmp_path / "b", how=QueryConfig(max_queries=300, timeout=1.0)),
        )
    assert same.verdict == plain.verdict
    assert same.ledger.queries == faulty.images <= 300


@pytest.mark.parametrize("stolen", [True, False])
def test_an_endpoint_that_restarts_in_the_middle_gets_its_verdict(stolen: bool, tmp_path: Path) -> None:
    """Nothing is asked of a door that is closed, and nothing of what was answered before it closed is sent again."""
    net, third = trained(0) if stolen else negative(), threading.Event()

    def notes_the_third(exchange: Exchange) -> bool:
        if exchange.number == 3:
            third.set()
        return False

    found: list[JudgedSuspect] = []
    how = QueryConfig(max_queries=300, batch_size=8, tries=20)
    with serving(serve(net)) as plain:
        expected = judged(plain, tmp_path / "plain")
    with serving(serve(net), notes_the_third) as endpoint:
        port = int(endpoint.url.rsplit(":", 1)[1])
        session = threading.Thread(target=lambda: found.append(judged(endpoint, tmp_path / "s", how=how)))
        session.start()
        assert third.wait(30)
    time.sleep(0.3)
    with serving(serve(net), port=port, endpoint=endpoint):
        session.join(60)
    verdict = found[0].verdict
    assert verdict.claim == expected.verdict.claim == ("piracy" if stolen else "inconclusive")
    # Requests of another size: a net's last digits.
    assert verdict.similarity == pytest.approx(expected.verdict.similarity, abs=1e-5)
    assert verdict.weighted_errors == pytest.approx(expected.verdict.weighted_errors, abs=1e-5)
    assert verdict.findings == expected.verdict.findings
    assert found[0].ledger.failures > 0
    assert endpoint.images <= found[0].ledger.queries <= 300


@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
@pytest.mark.parametrize("decimals", [2, 3])
def test_rounded_confidences_change_no_claim(method: str, decimals: int, tmp_path: Path) -> None:
    """As APIs give them: named in the findings, and neither an accusation nor an acquittal by accident."""
    for net, claim in ((trained(0), "piracy"), (negative(), "inconclusive")):
        with serving(lambda images, net=net: np.round(serve(net)(images), decimals).tolist()) as endpoint:
            case = judged(endpoint, tmp_path / claim, method)
        assert case.verdict.claim == claim
        assert f"rounded to {decimals} decimals" in " ".join(case.verdict.findings)


def test_a_wrong_output_is_told_after_one_image(tmp_path: Path) -> None:
    with serving(labels_of(trained(0))) as endpoint:
        with pytest.raises(UserError, match="its first answer cannot be read"):
            judged(endpoint, tmp_path / "a")
        assert endpoint.images == 1
        assert judged(endpoint, tmp_path / "b", output="label").verdict.claim == "piracy"
        case = judged(endpoint, tmp_path / "a")  # the same again asks the rest
    assert case.verdict.claim == "inconclusive"
    assert "of 110 answers cannot be used: expected classes with confidences" in case.verdict.findings[0]


def test_nobody_elses_verdict_is_overwritten(tmp_path: Path) -> None:
    """Neither another suspect's nor that of another kit; before anything is sent."""
    with serving(serve(trained(0))) as endpoint:
        first = judged(endpoint, tmp_path)
        write_verdict(tmp_path, toy_kit(), [first])
        before, sent = (tmp_path / "verdict.json").read_bytes(), endpoint.images
        with pytest.raises(UserError, match="choose another"):
            verify(toy_kit(), [SuspectConfig(at=endpoint.url, name="other")], tmp_path)
        with pytest.raises(UserError, match="choose another"):
            judged(endpoint, tmp_path, "uap")
        assert endpoint.images == sent
        assert judged(endpoint, tmp_path).verdict == first.verdict
    assert (tmp_path / "verdict.json").read_bytes() == before
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_the_folder_of_another_versions_transcript_is_refused(tmp_path: Path) -> None:
    """Nothing can be known of it but that it is not this verification's."""
    record = b'{"kind": "begin", "format": 1, "kit": "' + b"a" * 64 + b'"}'
    (tmp_path / "s.transcript.jsonl").write_bytes(b'{"sha256": "' + b"0" * 64 + b'", "record": ' + record + b"}\n")
    with pytest.raises(UserError, match="of another version; choose another"):
        verify(toy_kit(), [SuspectConfig(at="toy_suspects:copied")], tmp_path)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_out_that_can_be_no_folder_is_one_line(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: expected a folder that can be written"):
        verify(toy_kit(), [SuspectConfig(at="toy_suspects:copied")], tmp_path / out)


def test_names_of_every_alphabet_and_length_are_told_apart(tmp_path: Path) -> None:
    names = ["\u6a21\u578b\u4e00", "\u6a21\u578b\u4e8c", "x" * 90 + "1", "x" * 90 + "2", "plain"]
    paths = [transcript_path(tmp_path, name) for name in names]
    assert len(set(paths)) == len(paths)
    assert paths[-1].name == "plain.transcript.jsonl"
    assert all(path.name.isascii() and len(path.name) < 120 for path in paths)


@pytest.mark.parametrize("name", ["rate", "timeout", "total_timeout"])
def test_endless_times_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{name}: expected a finite number"):
        verify(toy_kit(), [SuspectConfig(at="toy_suspects:copied")], tmp_path, QueryConfig(**{name: math.inf}))


def test_an_order_of_classes_that_changes_on_the_way_accuses_nobody(tmp_path: Path) -> None:
    def after_a_while(exchange: Exchange) -> bool:
        if exchange.endpoint.images > 60:
            rows = np.roll(np.array(exchange.endpoint.model(exchange.images)), 1, axis=1).tolist()
            exchange.send(200, json.dumps({"predictions": rows}).encode())
        return exchange.endpoint.images > 60

    with serving(serve(trained(0)), after_a_while) as endpoint:
        case = judged(endpoint, tmp_path)
    assert case.verdict.claim == "inconclusive"
    assert "change from call to call" in " ".join(case.verdict.findings)


def test_confidences_that_are_no_numbers_accuse_nobody(tmp_path: Path) -> None:
    with serving(lambda images: [[None] * 10] * len(images)) as endpoint:
        case = judged(endpoint, tmp_path)
    assert case.verdict.claim == "inconclusive"
    assert "not a finite number" in " ".join(case.verdict.findings)


def test_a_verification_that_was_given_up_resumes(tmp_path: Path) -> None:
    """Nothing lost, nothing sent twice but what was on its way, the same verdict."""
    stop = {"at": 3}

    def dies(exchange: Exchange) -> bool:
        if exchange.number == stop["at"]:
            exchange.send(401, b"the key has expired")
        return exchange.number == stop["at"]

    with serving(serve(trained(0)), dies) as endpoint:
        with pytest.raises(UserError, match="401"):
            judged(endpoint, tmp_path)
        case = judged(endpoint, tmp_path)
        images = endpoint.images
    with serving(serve(trained(0))) as endpoint:
        plain = judged(endpoint, tmp_path / "other")
    assert case.verdict == plain.verdict
    assert case.ledger.queries == images
    assert images - plain.ledger.queries <= 16


@pytest.mark.slow
def test_a_process_that_is_killed_resumes(tmp_path: Path) -> None:
    """With SIGKILL, in the middle of a request: the same verdict, and the ledger is what the server counted."""
    kit, held = toy_kit(), {"is": True}
    save_kit(kit, tmp_path / "kit")

    def holds(exchange: Exchange) -> bool:
        return held["is"] and exchange.number == 4 and faults.hanging(exchange)

    with serving(serve(trained(0)), holds) as endpoint:
        where = ("--kit", str(tmp_path / "kit"), "--at", endpoint.url, "--name", "s", "--out", str(tmp_path / "out"))
        command = [sys.executable, str(ROOT / "jobs" / "verify.py"), *where, "--no-track"]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            wait_until(lambda: endpoint.requests == 4, 60.0, "the fourth request")
            running.kill()
        held["is"] = False
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=60, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        (case,) = replay(kit, [transcript_path(tmp_path / "out", "s")])
        assert case.ledger.queries == endpoint.images
    with serving(serve(trained(0))) as endpoint:
        assert judged(endpoint, tmp_path / "plain").verdict == case.verdict


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0, math.nan])
def test_an_alpha_that_is_no_rate_is_told_before_anything_is_sent(alpha: float, tmp_path: Path) -> None:
    """The transcript would hold it for good."""
    with serving(serve(trained(0))) as endpoint, pytest.raises(UserError, match="between 0 and 1"):
        verify(toy_kit(), [SuspectConfig(at=endpoint.url, name="s")], tmp_path, alpha=alpha)
    assert endpoint.requests == 0
    assert not list(tmp_path.iterdir())


def test_answers_that_would_fill_the_memory_are_not_kept(tmp_path: Path) -> None:
    """A megabyte of empty lists for a single image passes as JSON."""
    lies = serving(lambda images: [[[]] * 200_000] * len(images))
    with lies as endpoint, pytest.raises(UserError, match="characters to one image"):
        judged(endpoint, tmp_path, how=QueryConfig(tries=2, batch_size=1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000


def test_a_small_budget_buys_what_decides(tmp_path: Path) -> None:
    with serving(labels_of(trained(0))) as endpoint:
        case = judged(endpoint, tmp_path, how=QueryConfig(max_queries=20), output="label")
    assert endpoint.images <= 20
    assert case.verdict.claim == "piracy"
    assert case.verdict.queries == 20
    assert "not tried" in " ".join(case.verdict.findings)


def test_what_is_queried_is_settled_by_the_first_run(tmp_path: Path) -> None:
    """More budget after a look at the answers must not buy another test."""
    with serving(serve(trained(0))) as endpoint:
        small = judged(endpoint, tmp_path, "uap", how=QueryConfig(max_queries=20))
        asked = endpoint.images
        large = judged(endpoint, tmp_path, "uap", how=QueryConfig(max_queries=300))
        assert endpoint.images == asked <= 20
    assert verdict_json(toy_kit("uap"), [small]) == verdict_json(toy_kit("uap"), [large])
    assert small.sha256 == large.sha256
    assert small.verdict.decided_by == "weighted_errors"
    assert "fewer than half of the views" in small.verdict.decided_because


def test_a_dropped_request_at_a_tight_budget_says_what_is_needed(tmp_path: Path) -> None:
    """And a resumed run with just that comes to the verdict of a good endpoint."""

    def second_dropped(exchange: Exchange) -> bool:
        if exchange.number == 2:
            exchange.reset()
        return exchange.number == 2

    with serving(serve(trained(0)), second_dropped) as endpoint:
        with pytest.raises(UserError, match="at least") as error:
            judged(endpoint, tmp_path, how=QueryConfig(max_queries=20))
        needed = int(str(error.value).split("at least ")[1].split()[0])
        case = judged(endpoint, tmp_path, how=QueryConfig(max_queries=needed))
        assert case.ledger.queries == endpoint.images == needed
    with serving(serve(trained(0))) as endpoint:
        assert (
            judged(endpoint, tmp_path / "good", how=QueryConfig(max_queries=20)).verdict.p_value == case.verdict.p_value
        )
