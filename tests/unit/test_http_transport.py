"""Between here and there: any 2xx, packed replies, payload limits, cold starts, certificates, proxies, polling."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from certificates import Authority
from forward_proxy import proxying
from protocol_servers import ProtocolServer, Reply, Request, mlflow, serving_protocol
from toy_kit import responses_of, serve, toy_kit, trained
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import TransientError
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.records import Certificate
from uapfp_dist.verification.querying.transcript import stored_records
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")

MODEL = serve(trained(0))


def correct(request: Request) -> bytes:
    """The reply of MLflow's protocol to a request."""
    return json.dumps(mlflow(request, MODEL)[1]).encode()


def n_images(request: Request) -> int:
    """Of a request of MLflow's protocol."""
    return len(request.json["inputs"])


def judged(server: ProtocolServer, out: Path, how: QueryConfig | None = None, **config: Any) -> JudgedSuspect:
    """The verdict on what is behind a server."""
    suspect = SuspectConfig(**{"at": server.url, "name": "s", **config})
    return verify(toy_kit(), [suspect], out, how or QueryConfig())[0]


def right(found: torch.Tensor) -> bool:
    """The local model's."""
    return float((found - responses_of(trained(0), IMAGES)).abs().max()) < 1e-6


@pytest.mark.parametrize("status", [200, 201, 203, 226])
def test_any_2xx_is_a_response(status: int) -> None:
    with serving_protocol(mlflow, MODEL, lambda request, n: Reply(status, correct(request))) as server:
        assert right(query(SuspectConfig(at=server.url)))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a_reply_that_is_packed_unasked_is_unpacked(encoding: str) -> None:
    def packed(request: Request, number: int) -> Reply:
        assert request.headers["Accept-Encoding"] == "identity"
        return Reply(200, gzip.compress(correct(request)), {"Content-Encoding": encoding})

    with serving_protocol(mlflow, MODEL, packed) as server:
        assert right(query(SuspectConfig(at=server.url)))


def test_a_packed_reply_of_10_gb_is_not_unpacked() -> None:
    """A thousand times smaller on its way: the limit is that of the unpacked bytes."""
    bomb = gzip.compress(b"[" + b"0," * 50_000_000, 9)
    assert len(bomb) < 1 << 20
    with (
        serving_protocol(mlflow, MODEL, lambda request, n: Reply(200, bomb, {"Content-Encoding": "gzip"})) as server,
        pytest.raises(UserError, match="longer one, which was not read"),
    ):
        query(SuspectConfig(at=server.url))


def test_another_packing_is_named() -> None:
    with (
        serving_protocol(mlflow, MODEL, lambda request, n: Reply(200, b"x", {"Content-Encoding": "br"})) as server,
        pytest.raises(UserError, match="packed by br, which was not requested"),
    ):
        query(SuspectConfig(at=server.url))


def test_an_address_that_ends_in_a_slash_stays_so() -> None:
    for path in ("/score/", "/score", "/a/b/?x=12345678"):
        with serving_protocol(mlflow, MODEL) as server:
            query(SuspectConfig(at=server.url + path))
        assert server.requests[0].path == path


def test_the_servers_own_words_are_long_enough() -> None:
    words = json.dumps({"detail": [{"loc": ["body", "inputs"], "msg": "x" * 200, "input": "expected float16"}]})
    with (
        serving_protocol(mlflow, MODEL, lambda request, n: Reply(422, words.encode())) as server,
        pytest.raises(UserError, match="expected float16") as caught,
    ):
        query(SuspectConfig(at=server.url))
    assert len(str(caught.value)) < 800
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422, 500, 502])
def test_a_payload_limit_by_whatever_status_halves_the_batch(status: int, tmp_path: Path) -> None:
    """And is not met again and again; the server's count of what it saw is the ledger's."""
    seen: list[int] = []

    def limited(request: Request, number: int) -> Reply | None:
        seen.append(n_images(request))
        return Reply(status, b"too much") if seen[-1] > 8 else None

    with serving_protocol(mlflow, MODEL, limited) as server:
        case = judged(server, tmp_path, QueryConfig(max_queries=300))
    assert case.verdict.claim == "piracy"
    assert case.ledger.queries == sum(seen)
    assert seen[:5] == [1, 2, 4, 8, 16]
    assert seen.count(16) <= 4


def test_a_server_of_one_image_at_a_time(tmp_path: Path) -> None:
    """It answers a batch with one response: not tried eight times."""
    seen: list[int] = []

    def first_only(request: Request, number: int) -> Reply:
        seen.append(n_images(request))
        return Reply(200, json.dumps({"predictions": mlflow(request, MODEL)[1]["predictions"][:1]}).encode())

    with serving_protocol(mlflow, MODEL, first_only) as server:
        case = judged(server, tmp_path, QueryConfig(max_queries=300))
    assert case.verdict.claim == "piracy"
    assert case.ledger.queries == sum(seen)
    assert sum(one > 1 for one in seen) <= 2


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(200, b'{"scores": [[1, 2]]}'), "another shape than expected"),
        (Reply(200, b'{"predictions": [[1], [2]]}'), "expected 1 responses, got 2"),
        (Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}), "no JSON"),
        (Reply(202, b"{}"), "say where it is in polling"),
        (Reply(400, b"no such column"), "no such column"),
        (Reply(200, b'{"predictions": ["cat"]}'), "its first answer cannot be read"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_wrong_shape_is_told_after_one_image(reply: Reply, message: str, concurrency: int, tmp_path: Path) -> None:
    with serving_protocol(mlflow, MODEL, lambda request, n: reply) as server:
        with pytest.raises(UserError, match=message) as caught:
            judged(server, tmp_path, QueryConfig(concurrency=concurrency))
        assert sum(map(n_images, server.requests)) == 1
    assert "\n" not in str(caught.value)


def test_a_cold_start_is_waited_for_under_a_stated_patience(tmp_path: Path) -> None:
    """Without it the tries are over; every one of them is a query."""
    cold = {"is": 12}

    def loading(request: Request, number: int) -> Reply | None:
        cold["is"] -= 1
        return Reply(503, b'{"error": "loading", "estimated_time": 20}') if cold["is"] > 0 else None

    with serving_protocol(mlflow, MODEL, loading) as server:
        with pytest.raises(UserError, match=r"loading.*waited for with cold_start"):
            judged(server, tmp_path / "a", QueryConfig(tries=3))
        case = judged(server, tmp_path / "b", QueryConfig(tries=3, cold_start=60.0))
    assert case.verdict.claim == "piracy"
    assert case.ledger.failures == 8


def test_the_certificate_stands_in_the_transcript_and_another_one_is_refused(tmp_path: Path) -> None:
    """In the same run and when it resumes; nothing is sent to it, nothing that was answered is lost."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    how = QueryConfig(batch_size=8)
    gone = {"is": True}

    def goes(request: Request, number: int) -> Reply | None:
        return Reply(401) if number > 3 and gone["is"] else None

    with serving_protocol(mlflow, MODEL, goes, certificate=one) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(UserError, match="401"):
            judged(server, tmp_path / "v", how, ca=authority.path)
    path = transcript_path(tmp_path / "v", "s")
    (shown,) = [record for record in stored_records(path) if isinstance(record, Certificate)]
    assert len(shown.sha256) == 64
    with serving_protocol(mlflow, MODEL, certificate=other, port=port) as server:
        with pytest.raises(UserError, match=r"expected the certificate .*allow any_certificate") as caught:
            judged(server, tmp_path / "v", how, ca=authority.path)
        assert "\n" not in str(caught.value)
        assert server.requests == []
    gone["is"] = False
    with serving_protocol(mlflow, MODEL, goes, certificate=one, port=port) as server:
        suspect = open_suspect(SuspectConfig(at=server.url, ca=authority.path), SHAPE, 10)
        suspect.query(IMAGES, 5.0)
    with serving_protocol(mlflow, MODEL, certificate=other, port=port), pytest.raises(UserError, match="certificate"):
        suspect.query(IMAGES, 5.0)
    with serving_protocol(mlflow, MODEL, certificate=other, port=port) as server:
        case = judged(server, tmp_path / "v", how, ca=authority.path, any_certificate=True)
    assert case.verdict.claim == "piracy"
    assert sum(isinstance(record, Certificate) for record in stored_records(path)) == 2
    assert replay(toy_kit(), [path])[0].verdict == case.verdict


def test_a_private_authority_and_a_clients_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {"certificate": authority.issue("server"), "client_authority": authority.path}
    with serving_protocol(mlflow, MODEL, **files) as server:
        config = SuspectConfig(at=server.url, ca=authority.path, client_certificate=authority.issue("client"))
        assert right(query(config))
        with pytest.raises(UserError, match=r"not valid .*a private authority is named in ca"):
            query(replace(config, ca=None))
        with pytest.raises(TransientError):
            query(replace(config, client_certificate=None))
    for fields, message in (
        ({"ca": tmp_path / "none"}, "ca: expected a PEM file"),
        ({"client_certificate": authority.path}, "client_certificate: expected PEM files"),
        ({"client_certificate": None, "client_key": authority.path}, "client_key: expected client_certificate"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            open_suspect(replace(config, **fields), SHAPE, 10)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("secure", [False, True])
def test_a_mandatory_proxy(secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option alone; its password is in no message."""
    authority = Authority(tmp_path)
    certificate = authority.issue("server") if secure else None
    with proxying("me:hush-hush") as proxy, serving_protocol(mlflow, MODEL, certificate=certificate) as server:
        monkeypatch.setenv("MY_PROXY", proxy.url.replace("//", "//me:hush-hush@"))
        config = SuspectConfig(at=server.url, ca=authority.path if secure else None, proxy="env:MY_PROXY")
        assert right(query(config))
        assert len(proxy.asked) == 1
        monkeypatch.setenv("MY_PROXY", proxy.url)
        with pytest.raises((UserError, TransientError), match="407") as caught:
            query(config)
        assert "hush" not in str(caught.value)
    for text in ("http://me:word@h:1", "socks5://h:1", "env:NO_SUCH_VARIABLE", "h:1"):
        with pytest.raises(UserError, match="proxy: expected") as refused:
            open_suspect(replace(config, proxy=text), SHAPE, 10)
        assert "word@" not in str(refused.value)


def polled(where: str, address: str, n_pending: int = 2) -> Any:
    """A server that answers later: 202 with an address, then 202 or a status until it is ready."""
    kept: dict[str, Any] = {}

    def fault(request: Request, number: int) -> Reply | None:
        if request.path.startswith("/later"):
            kept["asked"] = kept.get("asked", 0) + 1
            if kept["asked"] % (n_pending + 1):
                return Reply(202) if where == "location" else Reply(200, b'{"status": "running", "predictions": null}')
            return Reply(200, kept["reply"])
        kept["reply"] = correct(request)
        if where == "location":
            return Reply(202, b"", {"Location": address})
        return Reply(201, json.dumps({"urls": {"get": address}, "status": "starting"}).encode())

    return fault


@pytest.mark.parametrize("where", ["location", "urls.get"])
def test_an_answer_that_comes_later(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uapfp_dist.suspects.polling.FIRST_POLL", 0.01)
    with serving_protocol(mlflow, MODEL, polled(where, "/later/1?key=12345678")) as server:
        config = SuspectConfig(at=server.url, polling=where, answer="predictions")
        assert right(query(config))
        assert server.requests[-1].path == "/later/1?key=12345678"
        suspect = open_suspect(config, SHAPE, 10)
        monkeypatch.setattr("uapfp_dist.suspects.polling.FIRST_POLL", 0.3)
        with pytest.raises(TransientError, match="no answer in time"):
            suspect.query(IMAGES, 0.2)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/later", "https://127.0.0.1/later", "//other.example/x"])
def test_no_other_host_is_polled(address: str) -> None:
    with (
        serving_protocol(mlflow, MODEL, polled("location", address)) as server,
        pytest.raises(UserError, match="expected to poll the same host") as caught,
    ):
        query(SuspectConfig(at=server.url, polling="location"))
    assert "\n" not in str(caught.value)


def test_a_polled_task_that_failed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uapfp_dist.suspects.polling.FIRST_POLL", 0.01)

    def fails(request: Request, number: int) -> Reply:
        if request.path.startswith("/later"):
            return Reply(200, b'{"status": "Failed"}')
        return Reply(202, b"", {"Operation-Location": "/later"})

    with (
        serving_protocol(mlflow, MODEL, fails) as server,
        pytest.raises(TransientError, match="status of the polled task is Failed"),
    ):
        query(SuspectConfig(at=server.url, polling="location", answer="predictions"))
