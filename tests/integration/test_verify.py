"""From a kit and a suspect to a verdict: over HTTP, by several suspects at once, resumed, replayed, shown."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_server as faults
import jsonschema
import numpy as np
import pytest
import torch
from faulty_server import Endpoint, Exchange, serving
from forgery import forged
from system import ROOT, environment, wait_until
from toy_kit import negative, responses_of, serve, toy_kit, trained
from verify_job import verify_job

import uapfp_dist
from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.querying import session as query_session
from uapfp_dist.verification.querying import transcript
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import JudgedSuspect, made_elsewhere, replay
from uapfp_dist.verification.reports.verdict_file import verdict_json, verdict_schema
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_metrics import verdict_metrics, verdict_tags
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.suspect_list import load_suspects
from uapfp_dist.verification.suspect_task import Interrupted
from uapfp_dist.verification.verify import verify


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_session, "FIRST_PAUSE", 0.01)


def labels_of(net: Any) -> Any:
    """The net behind an endpoint that gives labels."""
    return lambda images: np.array(serve(net)(images)).argmax(1).tolist()


def judged(
    endpoint: Endpoint, out: Path, method: str = "weighted_errors", how: QueryConfig | None = None, **config: Any
) -> JudgedSuspect:
    """The verdict on the model behind an endpoint."""
    return verify(toy_kit(method), [SuspectConfig(at=endpoint.url, name="s", **config)], out, how)[0]


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
    assert torch.equal(case.probabilities, local)
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


def test_a_wrong_output_is_told_after_four_images(tmp_path: Path) -> None:
    with serving(labels_of(trained(0))) as endpoint:
        with pytest.raises(UserError, match="none of its first 4 answers can be read"):
            judged(endpoint, tmp_path / "a")
        assert endpoint.images == 4
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
        verify(toy_kit(), [SuspectConfig(at="test_verify:copied")], tmp_path)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_out_that_can_be_no_folder_is_one_line(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: expected a folder that can be written"):
        verify(toy_kit(), [SuspectConfig(at="test_verify:copied")], tmp_path / out)


def test_names_of_every_alphabet_and_length_are_told_apart(tmp_path: Path) -> None:
    names = ["\u6a21\u578b\u4e00", "\u6a21\u578b\u4e8c", "x" * 90 + "1", "x" * 90 + "2", "plain"]
    paths = [transcript_path(tmp_path, name) for name in names]
    assert len(set(paths)) == len(paths)
    assert paths[-1].name == "plain.transcript.jsonl"
    assert all(path.name.isascii() and len(path.name) < 120 for path in paths)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"at": "x"}', '[{"at": 3}]', '[{"at": "' + "a" * 5000 + '", "scale": "?"}]'], ids=range(4)
)
def test_lists_of_suspects_that_are_none_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load_suspects(tmp_path / "s.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["rate", "timeout", "total_timeout"])
def test_endless_times_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{name}: expected a finite number"):
        verify(toy_kit(), [SuspectConfig(at="test_verify:copied")], tmp_path, QueryConfig(**{name: math.inf}))


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


def test_a_worker_lost_while_querying_holds_up_nobody(tmp_path: Path) -> None:
    """A worker that an endless file killed can note nothing: whoever waited for it does."""

    def dies(task: Any, suspects: Any) -> Any:
        return [Interrupted("its worker was lost", lost=True) if s.name == "big" else task(s) for s in suspects]

    with serving(serve(trained(0))) as good, serving(serve(trained(0))) as big:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("good", good), ("big", big))]
        cases = verify(toy_kit(), configs, tmp_path, alpha=0.2, map_tasks=dies)
        assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive"]
        assert "its worker was lost" in cases[1].stopped
        assert [case.verdict.claim for case in verify(toy_kit(), configs, tmp_path, alpha=0.2)] == ["piracy", "piracy"]


def test_a_replay_gives_the_same_bits_from_the_transcript_alone(tmp_path: Path) -> None:
    kit = toy_kit("uap")
    with serving(serve(trained(0)), faults.every_third_dropped) as endpoint:
        cases = verify(kit, [SuspectConfig(at=endpoint.url, name="s")], tmp_path)
    write_verdict(tmp_path / "first", kit, cases)
    moved = shutil.copy(transcript_path(tmp_path, "s"), tmp_path / "elsewhere")
    write_verdict(tmp_path / "second", kit, replay(kit, [Path(moved)]))
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    with pytest.raises(UserError, match="another"):
        verify(toy_kit("weighted_errors"), [SuspectConfig(at=endpoint.url, name="s")], tmp_path)


def test_several_suspects_share_one_error_rate(tmp_path: Path) -> None:
    kit = toy_kit()
    with serving(serve(trained(0))) as copied, serving(serve(negative())) as fair, serving(serve(trained(0))) as other:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("copied", copied), ("fair", fair), ("other", other))]
        with pytest.raises(UserError, match=r"at most 1 at alpha 0.05, got 3; .*nothing was sent"):
            verify(kit, configs, tmp_path)
        assert copied.requests == fair.requests == 0
        cases = verify(kit, configs, tmp_path, alpha=0.2)
    assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive", "piracy"]
    assert cases[0].verdict.p_adjusted == pytest.approx(3 * cases[0].verdict.p_value)
    paths = [transcript_path(tmp_path, config.name) for config in configs]
    assert [case.verdict for case in replay(kit, paths[::-1])] == [case.verdict for case in cases]
    with pytest.raises(UserError, match="all that were judged together"):
        replay(kit, paths[:1])


def after_two(fault: Any) -> Any:
    """A fault of every request but the first two."""
    return lambda exchange: exchange.number > 2 and fault(exchange)


def resets(exchange: Exchange) -> bool:
    """Gone."""
    exchange.reset()
    return True


@pytest.mark.parametrize(
    ("fault", "said", "how"),
    [
        (faults.redirect_to("http://x/"), "redirect", QueryConfig()),
        (after_two(faults.redirect_to("http://x/")), "redirect", QueryConfig()),
        (after_two(resets), "requests in a row failed", QueryConfig(tries=2)),
        (after_two(resets), r"left \(max_queries\)", QueryConfig(max_queries=110)),
    ],
)
def test_one_suspect_that_cannot_be_queried_does_not_hold_up_the_others(
    fault: Any, said: str, how: QueryConfig, tmp_path: Path
) -> None:
    """They are judged as strictly as if it had answered; once it does, the same call finishes it and judges all."""
    kit, dead = toy_kit(), {"is": True}
    with (
        serving(serve(trained(0))) as good,
        serving(serve(negative())) as fair,
        serving(serve(trained(0)), lambda exchange: dead["is"] and fault(exchange)) as bad,
    ):
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("good", good), ("bad", bad), ("fair", fair))]
        cases = verify(kit, configs, tmp_path, how, alpha=0.2)
        again = verify(kit, configs, tmp_path, how, alpha=0.2)
        assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive", "inconclusive"]
        assert [bool(case.stopped) for case in cases] == [False, True, False]
        assert cases[0].verdict.p_adjusted == pytest.approx(3 * cases[0].verdict.p_value)
        lost = cases[1].verdict
        assert (lost.p_value, lost.p_adjusted, lost.queries) == (1.0, 1.0, 0)
        assert lost.findings[0].startswith("not answered: ")
        assert re.search(said, lost.findings[0])
        assert [case.verdict.claim for case in again] == [case.verdict.claim for case in cases]
        asked, before = good.images + fair.images, bad.images
        dead["is"] = False
        done = verify(kit, configs, tmp_path, replace(how, max_queries=how.max_queries and 300), alpha=0.2)
        assert good.images + fair.images == asked
    assert [case.verdict.claim for case in done] == ["piracy", "piracy", "inconclusive"]
    assert not any(case.stopped for case in done)
    # Nothing that was answered is sent again, but for the few that are asked twice.
    assert len(done[1].ledger.responses) == len(kit.images)
    assert bad.images - before <= len(kit.images) - len(cases[1].ledger.responses) + query_session.N_REPEATS
    with serving(serve(trained(0))) as plain:
        verdict = verify(kit, [replace(configs[1], at=plain.url)], tmp_path / "plain", alpha=0.2)[0].verdict
    assert done[1].verdict.p_value == verdict.p_value


def test_a_batch_with_an_unfinished_one_is_shown_and_replayed(tmp_path: Path) -> None:
    """By its transcripts, bit for bit; alone, the unfinished one is no evidence."""
    kit = toy_kit("uap")
    with serving(serve(trained(0))) as good, serving(serve(trained(0)), after_two(faults.redirect_to("x"))) as bad:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("bad", bad), ("good", good))]
        cases = verify(kit, configs, tmp_path, alpha=0.2)
        with pytest.raises(UserError, match="all that were judged together"):
            replay(kit, [transcript_path(tmp_path, "good")])
        with pytest.raises(UserError, match=r"suspect bad: .*redirect") as caught:
            verify(kit, configs[:1], tmp_path / "alone")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"bad was not fully queried: .*redirect"):
        replay(kit, [transcript_path(tmp_path / "alone", "bad")])
    write_verdict(tmp_path / "a", kit, cases)
    write_verdict(tmp_path / "b", kit, replay(kit, [transcript_path(tmp_path, c.name) for c in configs]))
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    jsonschema.validate(json.loads((tmp_path / "a" / "verdict.json").read_text()), verdict_schema())
    assert "28 images sent, 12 answered and kept, none judged" in verdict_text(kit, cases)
    assert "bad: not answered" in (tmp_path / "a" / "verdict.html").read_text()


def test_none_that_could_be_queried_is_an_error_and_so_is_another_question(tmp_path: Path) -> None:
    kit, dead = toy_kit(), {"is": True}

    def redirects(exchange: Exchange) -> bool:
        return dead["is"] and faults.redirect_to("http://x/")(exchange)

    with serving(serve(trained(0)), redirects) as one, serving(serve(trained(0)), redirects) as two:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("one", one), ("two", two))]
        with pytest.raises(UserError, match=r"suspect one: .*redirect.* \(and 1 more\)"):
            verify(kit, configs, tmp_path, alpha=0.2)
        dead["is"] = False
        with pytest.raises(UserError, match=r"suspect two: .*another suspect"):
            verify(kit, [configs[0], replace(configs[1], output="logits")], tmp_path, alpha=0.2)
        assert one.images > len(kit.images)
        assert two.images == query_session.FIRST_BATCH


def test_nobody_is_queried_from_another_folder_of_that_name(tmp_path: Path) -> None:
    """On a machine that does not share it, what was sent before would not count towards the budget."""

    def elsewhere(task: Any, suspects: Any) -> Any:
        for mark in tmp_path.glob(".*.mark"):
            mark.unlink()
        return [task(suspect) for suspect in suspects]

    with serving(serve(trained(0))) as endpoint, pytest.raises(UserError, match="one folder on all machines"):
        verify(toy_kit(), [SuspectConfig(at=endpoint.url)], tmp_path, map_tasks=elsewhere)
    assert endpoint.images == 0
    assert not list(tmp_path.iterdir())


def test_a_bad_suspect_is_told_of_before_a_good_one_is_queried(tmp_path: Path) -> None:
    with serving(serve(trained(0))) as good:
        configs = [SuspectConfig(at=good.url, name="good"), SuspectConfig(at="file:///etc/passwd", name="bad")]
        with pytest.raises(UserError, match="http"):
            verify(toy_kit(), configs, tmp_path, alpha=0.2)
        with pytest.raises(UserError, match="max_queries: expected at least"):
            verify(toy_kit(), configs[:1], tmp_path, QueryConfig(max_queries=1))
        with pytest.raises(UserError, match="different names"):
            verify(toy_kit(), [configs[0], configs[0]], tmp_path, alpha=0.2)
        assert good.requests == 0


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


def test_a_replay_wants_just_what_the_kit_asks(tmp_path: Path) -> None:
    """Neither a choice of favourable images nor nonsense with a good chain of digests is evidence."""
    kit = toy_kit()
    with serving(serve(trained(0))) as endpoint:
        judged(endpoint, tmp_path)

    def few(records: list[Any]) -> list[Any]:
        return [*records[:3], records[-1]]

    changes = {
        "just the images": few,
        "larger": lambda records: records[0].update(max_queries=20),
        "line 1": lambda records: records[0].pop("judged") and None,
        "line 1 ": lambda records: records[0]["judged"].update(alpha="x"),
        "line 1  ": lambda records: records[0]["suspect"].update(classes=[[1]]),
        "a record in line 2": lambda records: [records[0], [3], *records[2:]],
        "a record in line 3": lambda records: [*records[:2], {"no": "kind"}, *records[3:]],
        "record in line 3 ": lambda records: records[2].pop("answers") and None,
        "record in line 2": lambda records: records[1].update(images=[float(i) for i in records[1]["images"]]),
        "record in line 2 ": lambda records: records[1].update(images=[*records[1]["images"][:-1], True]),
        "record in line 2  ": lambda records: records[1].update(images="abcd"),
        "record in line 2   ": lambda records: records[1].update(batch=1.0),
        "unknown output": lambda records: records[0]["suspect"].update(output="top" + "9" * 5000),
        "line 1   ": lambda records: records[0]["suspect"].update(width=float("nan")),
        "line 1    ": lambda records: records[0]["suspect"].update(at=[[]]),
        "line 1     ": lambda records: records[0].update(made_by=["me"]),
        "line 1      ": lambda records: records[0].update(max_queries=20.0),
    }
    for said, change in changes.items():
        path = forged(tmp_path, tmp_path / "forged", change)
        with pytest.raises(UserError, match="just the images" if said == "larger" else said.strip()) as caught:
            replay(kit, [path])
        assert len(str(caught.value)) < 500
    assert replay(kit, [forged(tmp_path, tmp_path / "same", lambda records: None)])

    def with_less(records: list[Any]) -> None:
        del records[0]["max_queries"], records[0]["made_by"], records[0]["suspect"]["classes"]

    assert replay(kit, [forged(tmp_path, tmp_path / "less", with_less)])


def test_no_code_that_a_transcript_names_is_imported(tmp_path: Path) -> None:
    """Nor by a kit: what is imported stands in the command, or in the file of suspects."""
    kit = toy_kit()
    with serving(serve(trained(0))) as endpoint:
        judged(endpoint, tmp_path)
    suspect = {"kind": "weights", "at": "x.safetensors", "architecture": "no_such_module:make"}
    path = forged(tmp_path, tmp_path / "forged", lambda records: records[0]["suspect"].update(suspect))
    assert replay(kit, [path])[0].verdict.claim == "piracy"


@pytest.mark.parametrize("letter", ["\x1b[2J\x1b[H", "\n", "\r", "\u202e", "\ud800", "\x07"])
def test_a_name_forges_nothing_that_is_printed(letter: str, tmp_path: Path) -> None:
    """Nor does what stopped a suspect; the JSON holds both as they came."""
    kit = toy_kit()
    with serving(serve(trained(0))) as good, serving(serve(trained(0)), faults.redirect_to("x")) as bad:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("s", good), ("t", bad))]
        verify(kit, configs, tmp_path, alpha=0.2)
    names = [f"{letter}copied: inconclusive. p 1", f"{letter}other"]

    def rename(records: list[Any]) -> None:
        records[0]["judged"]["names"] = names
        records[0]["suspect"].update(name=names[0], at=letter)

    def rename_stopped(records: list[Any]) -> None:
        records[0]["judged"]["names"] = names
        records[0]["suspect"]["name"] = names[1]
        records[-1]["why"] = f"gone{letter}"

    paths = [forged(tmp_path, tmp_path / "a", rename), forged(tmp_path, tmp_path / "b", rename_stopped, "t")]
    cases = replay(kit, paths)
    assert verdict_json(kit, cases)["suspects"][0]["name"] == names[0]
    text = verdict_text(kit, cases)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.split("\n")) < 25
    write_verdict(tmp_path / "out", kit, cases)
    page = (tmp_path / "out" / "verdict.html").read_text()
    assert letter == "\n" or letter not in page
    assert "copied: inconclusive. p 1: piracy" in page


def test_a_replay_says_when_others_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line, not an error; a verification may also be finished by another version than began it."""
    kit, dead = toy_kit(), {"is": True}
    redirects = after_two(faults.redirect_to("x"))
    with serving(serve(trained(0)), lambda exchange: dead["is"] and redirects(exchange)) as endpoint:
        with pytest.raises(UserError, match="redirect"):
            judged(endpoint, tmp_path)
        dead["is"] = False
        monkeypatch.setattr(transcript, "MADE_BY", {"uapfp_dist": "99", "torch": "98"})
        case = judged(endpoint, tmp_path)
    assert case.begin.made_by == {"uapfp_dist": uapfp_dist.__version__, "torch": torch.__version__}
    assert made_elsewhere([case]) == ""

    def made_by(by: Any) -> str:
        path = forged(tmp_path, tmp_path / "forged", lambda records: records[0].update(made_by=by))
        return made_elsewhere(replay(kit, [path]))

    assert made_by(None) == ""
    queried_by = f"s was queried by uapfp_dist {uapfp_dist.__version__}, torch 1.0;"
    assert made_by(case.begin.made_by | {"torch": "1.0"}).startswith(queried_by)
    assert "uapfp_dist 0.0.1" in made_by({"uapfp_dist": "0.0.1", "torch": [3]})


# ---------------------------------------------------------------- what is shown


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JudgedSuspect]]:
    """Two suspects, one with a name that would break a page."""
    out, kit = tmp_path_factory.mktemp("shown"), toy_kit("uap")
    configs = [
        SuspectConfig(at="test_verify:copied", name="<script>alert(1)</script> $x_1$"),
        SuspectConfig(at="test_verify:noisy", name="noisy"),
    ]
    cases = verify(kit, configs, out, alpha=0.2)
    write_verdict(out, kit, cases)
    return out, cases


def copied(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers."""
    return serve(trained(0))(images)


def noisy(images: np.ndarray) -> list[list[float]]:
    """One answer to everything."""
    return [[0.5, 0.5] + [0.0] * 8] * len(images)


def test_the_json_is_as_published(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    out = shown[0]
    found = json.loads((out / "verdict.json").read_text(), parse_constant=pytest.fail)
    jsonschema.Draft202012Validator.check_schema(verdict_schema())
    jsonschema.validate(found, json.loads((out / "verdict.schema.json").read_text()))
    assert found["kit"] == toy_kit("uap").digest
    assert [s["claim"] for s in found["suspects"]] == ["piracy", "inconclusive"]
    for key in ("claim", "p_value", "similarity_std", "p_value_t_test", "queries_sent", "alpha", "power", "limits"):
        broken = json.loads(json.dumps(found))
        del broken["suspects"][0][key]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, verdict_schema())


def test_the_page_shows_where_the_suspect_falls_and_loads_nothing(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    text = (shown[0] / "verdict.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    # Where each falls, its answers moved by the perturbation, and the victim's errors.
    assert text.count("<img ") == 6
    for said in (
        "falls among",
        "how the response moved",
        "inconclusive",
        "same answer to every image",
        "does not mean innocent",
    ):
        assert said in text
    assert 'src="http' not in text


def test_the_text_says_what_a_reader_needs(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    text = verdict_text(toy_kit("uap"), shown[1])
    for said in (
        "piracy",
        "p 0.05",
        "alpha 0.2",
        "paper's t-test",
        "images sent",
        "! the same answer",
        "2 of 2 held-out",
    ):
        assert said in text
    assert len(text.splitlines()) < 30


def test_metrics_are_numbers(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    for case in shown[1]:
        assert verdict_tags(case)["claim"] == case.verdict.claim
        assert all(np.isfinite(value) for value in verdict_metrics(case).values())


def test_a_verdict_does_not_depend_on_when_it_was_made(shown: tuple[Path, list[JudgedSuspect]]) -> None:
    kit, (out, cases) = toy_kit("uap"), shown
    again = replay(kit, [transcript_path(out, case.verdict.name) for case in cases])
    assert json.dumps(verdict_json(kit, again)) == json.dumps(verdict_json(kit, cases))


# ---------------------------------------------------------------- the job


def test_a_list_of_suspects(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps([{"at": "http://a", "classes": "c.json"}, {"at": "m.onnx", "output": "logits"}]))
    found = load_suspects(path)
    assert [(s.at, s.output) for s in found] == [("http://a", "probabilities"), ("m.onnx", "logits")]
    assert found[0].classes == tmp_path / "c.json"
    (tmp_path / "m.onnx").touch()
    assert load_suspects(path)[1].at == str(tmp_path / "m.onnx")
    for text, said in (
        ('[{"url": 1}]', "unknown field 'url'"),
        ("3", "JSON list"),
        ("[3]", "JSON list"),
        ("{", "JSON list"),
        ('[{"at": "http://a", "layout": "nhwc"}]', "layout: expected one of NCHW, NHWC, NHW, flat, got 'nhwc'"),
        ('[{"at": "http://a", "scale": "255"}]', "scale: expected one of"),
        ('[{"at": "http://a", "channels": "bgr"}]', "channels: expected one of"),
        ('[{"at": 5}]', "at: expected str, got 5"),
        ('[{"at": "http://a", "name": 3}]', "name: expected str"),
        ('[{"at": "http://a", "output": 3}]', "output: expected str"),
        ('[{"at": "http://a", "width": "x"}]', "width: expected int"),
        ('[{"at": "http://a", "headers": "x"}]', "headers: expected dict"),
        ('[{"at": "http://a", "headers": {"A": 1}}]', "headers: expected an object"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            load_suspects(path)


def test_the_job_refuses_what_makes_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = ("--kit", str(tmp_path / "kit"), "--no-track")
    save_kit(toy_kit("uap"), tmp_path / "kit")
    with pytest.raises(UserError, match="another kit"):
        verify_job(monkeypatch, *kit, "--expect", "0" * 64, "--at", "test_verify:copied")
    with pytest.raises(UserError, match="address of a suspect, or a file"):
        verify_job(monkeypatch, *kit)
    with pytest.raises(UserError, match="expected a file"):
        verify_job(monkeypatch, *kit, "--replay", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="expected no alpha"):
        verify_job(monkeypatch, *kit, "--replay", str(tmp_path / "nothing"), "--alpha", "0.01")
    with pytest.raises(UserError, match="at least 1"):
        verify_job(
            monkeypatch, *kit, "--at", "test_verify:copied", "--max-queries", "0", "--out", str(tmp_path / "out")
        )


def test_the_job_judges_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A third party comes to the same bytes."""
    digest = save_kit(toy_kit("uap"), tmp_path / "kit")
    kit = ("--kit", str(tmp_path / "kit"), "--expect", digest, "--no-track")
    first, second = tmp_path / "first", tmp_path / "second"
    verify_job(monkeypatch, *kit, "--at", "test_verify:copied", "--name", "copied", "--out", str(first))
    verify_job(monkeypatch, *kit, "--out", str(second), "--replay", str(first / "copied.transcript.jsonl"))
    assert capsys.readouterr().out.count("copied: piracy") == 2
    assert (first / "verdict.json").read_bytes() == (second / "verdict.json").read_bytes()


def test_a_replay_writes_only_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """./verification is what the first run made; a note tells of another version."""
    save_kit(toy_kit("uap"), tmp_path / "kit")
    monkeypatch.chdir(tmp_path)
    verify_job(monkeypatch, "--kit", "kit", "--no-track", "--at", "test_verify:copied", "--name", "s")
    first = {path: path.read_bytes() for path in Path("verification").iterdir()}
    assert Path("verification/verdict.html") in first
    path = forged(Path("verification"), Path("elsewhere"), lambda records: records[0].update(made_by={"torch": "\x1b"}))
    capsys.readouterr()
    verify_job(monkeypatch, "--kit", "kit", "--replay", str(path))
    out = capsys.readouterr().out
    assert "s: piracy" in out
    assert "verdict.json" not in out
    assert "note: s was queried by torch ?;" in out
    assert {path: path.read_bytes() for path in Path("verification").iterdir()} == first
    assert {path.name for path in Path(".").iterdir()} == {"kit", "verification", "elsewhere"}


away = {"is": True}


def sometimes(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers, when it is there."""
    if away["is"]:
        raise UserError("nobody\x1b is there")
    return copied(images)


def test_the_job_judges_the_others_and_says_who_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_kit(toy_kit("uap"), tmp_path / "kit")
    rows = [{"at": "test_verify:copied", "name": "copied"}, {"at": "test_verify:sometimes", "name": "sometimes"}]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    where = ("--kit", str(tmp_path / "kit"), "--suspects", str(tmp_path / "s.json"), "--out", str(tmp_path / "out"))
    again = (*where, "--alpha", "0.2", "--workers", "0", "--no-track")
    monkeypatch.setitem(away, "is", True)
    with pytest.raises(UserError, match=r"1 of 2 suspects .*: sometimes \(nobody\? is there\); the others"):
        verify_job(monkeypatch, *again)
    assert "copied: piracy" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())["suspects"]
    assert [suspect["claim"] for suspect in found] == ["piracy", "inconclusive"]
    away["is"] = False
    verify_job(monkeypatch, *again)
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())["suspects"]
    assert [suspect["claim"] for suspect in found] == ["piracy", "piracy"]


def deadly(images: np.ndarray) -> list[list[float]]:
    """Takes the process with it that asks, as a file does that needs more memory than there is."""
    os._exit(1)


@pytest.mark.slow
def test_the_job_on_ray_into_mlflow(tmp_path: Path) -> None:
    """Three suspects at once, one of which kills whoever asks it; the run holds verdict, page and transcripts."""
    import mlflow

    save_kit(toy_kit("uap"), tmp_path / "kit")
    rows = [{"at": f"test_verify:{name}", "name": name} for name in ("copied", "deadly", "noisy")]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    where = (
        "--kit",
        str(tmp_path / "kit"),
        "--suspects",
        str(tmp_path / "s.json"),
        "--out",
        str(out),
        "--alpha",
        "0.2",
    )
    variables = environment(PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support"))))
    command = [sys.executable, str(ROOT / "jobs" / "verify.py"), *where]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 of 3 suspects could not be fully queried: deadly (its worker was lost" in done.stderr
    assert "copied: piracy" in done.stdout
    assert "noisy: inconclusive" in done.stdout
    client = mlflow.MlflowClient(f"sqlite:///{out}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("uapfp_dist").experiment_id])
    assert {r.data.tags.get("claim") for r in runs} == {None, "piracy", "inconclusive"}
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"verdict.json", "verdict.html", "copied.transcript.jsonl", "noisy.transcript.jsonl"} <= files
