"""Suspects by protocol: requests, responses, and input that is never opened."""

import io
import json
import os
import pickle
import re
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_server as faults
import numpy as np
import pytest
import torch
from faulty_server import Exchange, serving
from safetensors.torch import save_file
from toy_kit import WIDTH, negative, responses_of, serve, trained

from uapfp_dist.errors import UserError
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.suspects.callable import CallableSuspect
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat, load_classes
from uapfp_dist.suspects.registry import SUSPECTS, open_suspect
from uapfp_dist.suspects.suspect import Suspect, TooLargeError, TransientError

NAMES = tuple("abcde")
SHAPE = (1, 8, 8)
IMAGES = torch.randint(0, 256, (7, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def output_format(output: str, classes: Any = None) -> OutputFormat:
    return OutputFormat(output, NAMES, classes)


# ---------------------------------------------------------------- images


def test_every_grey_level_is_sent_as_the_kits_models_see_it() -> None:
    """Through JSON and back: exactly float32(k) / 255, the correctly rounded k/255."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    encoded = np.array(json.loads(json.dumps(InputFormat().encode(levels).tolist())), dtype=np.float32)
    assert (encoded == (levels.float() / 255).numpy()).all()
    assert (encoded.ravel() == np.array([k / 255 for k in range(256)], dtype=np.float32)).all()
    assert InputFormat(scale="0-255").encode(levels).ravel().tolist() == list(range(256))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "flat"])
@pytest.mark.parametrize("channels", ["same", "RGB", "BGR"])
@pytest.mark.parametrize("c", [1, 3])
def test_layouts_by_a_slow_reference(layout: Any, channels: Any, c: int) -> None:
    images = torch.randint(0, 256, (2, c, 4, 5), dtype=torch.uint8)
    found = InputFormat(layout, "0-255", channels).encode(images)
    n_channels = c if channels == "same" else 3
    for b, y, x, k in np.ndindex(2, 4, 5, n_channels):
        source = 0 if c == 1 else (2 - k if channels == "BGR" else k)
        at = {"NCHW": (b, k, y, x), "NHWC": (b, y, x, k), "flat": (b, k * 20 + y * 5 + x)}[layout]
        assert found[at] == images[b, source, y, x]


def test_two_channels_have_no_colours() -> None:
    with pytest.raises(UserError, match="1 or 3 channels"):
        InputFormat(channels="RGB").encode(torch.zeros(1, 2, 4, 4, dtype=torch.uint8))


# ---------------------------------------------------------------- responses

P = [0.1, 0.4, 0.2, 0.05, 0.25]
BY_NAME = {"c": 0.2, "a": 0.1, "e": 0.25, "b": 0.4, "d": 0.05}


@pytest.mark.parametrize(
    ("output", "classes", "response", "row"),
    [
        ("probabilities", None, P, P),
        ("probabilities", None, [P], P),
        ("probabilities", None, BY_NAME, P),
        ("probabilities", list("edcba"), P, P[::-1]),
        (
            "probabilities",
            {"A": "a", "B": "b", "C": "c", "D": "d", "E": "e"},
            {k.upper(): v for k, v in BY_NAME.items()},
            P,
        ),
        ("top2", None, [["e", 0.25], ["b", 0.4]], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, {"b": 0.4, "e": 0.25}, [0, 0.4, 0, 0, 0.25]),
        ("top2", None, [[4, 0.25], [1, 0.4]], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, [{"score": 0.25, "label": "e"}, {"score": 0.4, "label": "b"}], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, BY_NAME, [0, 0.4, 0, 0, 0.25]),
        ("top1", list("edcba"), [[0, 0.9]], [0, 0, 0, 0, 0.9]),
        ("label", None, 3, [0, 0, 0, 1, 0]),
        ("label", None, 3.0, [0, 0, 0, 1, 0]),
        ("label", None, "3", [0, 0, 0, 1, 0]),
        ("label", None, "d", [0, 0, 0, 1, 0]),
        ("label", None, ["d"], [0, 0, 0, 1, 0]),
        ("label", None, {"label": "d", "score": 1.0}, [0, 0, 0, 1, 0]),
        ("label", None, {"0": 3}, [0, 0, 0, 1, 0]),
        ("label", list("bcdea"), 3, [0, 0, 0, 0, 1]),
        ("label", {"dog": "d", "1": "a", "x": "b", "y": "c", "z": "e"}, "dog", [0, 0, 0, 1, 0]),
        ("label", {"dog": "d", "1": "a", "x": "b", "y": "c", "z": "e"}, 1, [1, 0, 0, 0, 0]),
        ("top9", None, BY_NAME, P),
    ],
)
def test_responses_in_every_format(output: str, classes: Any, response: Any, row: list[float]) -> None:
    parsed = output_format(output, classes).parse([response])
    assert not parsed.problems
    assert torch.equal(parsed.probabilities[0], torch.tensor(row, dtype=torch.float32))


def test_logits_become_probabilities() -> None:
    logits = [3.0, -1.0, 0.0, 700.0, 699.0]
    row = output_format("logits").parse([logits]).probabilities[0]
    assert torch.allclose(row.double(), torch.tensor(logits).double().softmax(0), atol=1e-7)


@pytest.mark.parametrize(
    ("output", "response", "problem"),
    [
        ("probabilities", [0.5, 0.5], "expected 5 classes, got 2"),
        ("probabilities", [*P, 0.0], "expected 5 classes, got 6"),
        ("probabilities", {"a": 1.0}, "expected 5 classes, got 1"),
        ("probabilities", [*P[:4], float("nan")], "not a finite number"),
        ("probabilities", [*P[:4], None], "not a finite number"),
        ("probabilities", [*P[:4], "0.25"], "expected a number"),
        ("probabilities", [*P[:4], True], "expected a number"),
        ("probabilities", [*P[:4], 10**400], "not a finite number"),
        ("probabilities", "a", "expected classes"),
        ("logits", [0.0, 0.0, 0.0, 0.0, float("inf")], "not a finite number"),
        ("top2", [["a", 0.5], ["a", 0.2]], "named twice"),
        ("top2", [["z", 0.5], ["a", 0.2]], "one of the kit's classes"),
        ("top2", [0.5, 0.2], "expected pairs"),
        ("top2", [["a", 0.5]], "expected 2 classes with confidences, got 1"),
        ("top2", [["d", 0.0], ["e", 0.0]], "confidence above 0"),
        ("top9", [["a", 0.5], ["b", 0.2]], "expected 5 classes with confidences, got 2"),
        ("top1", [["d", 0.0]], "confidence above 0"),
        ("top1", [["d", -0.0]], "confidence above 0"),
        ("top2", [], "got none"),
        ("top2", {}, "got none"),
        ("label", 5, "one of the kit's classes"),
        ("label", -1, "one of the kit's classes"),
        ("label", 1.5, "one of the kit's classes"),
        ("label", True, "one of the kit's classes"),
        ("label", None, "one of the kit's classes"),
        ("label", "\x1b[31mz", r"got '\\x1b"),
        ("label", json.loads("[" * 500 + "]" * 500), "one of the kit's classes"),
    ],
)
def test_another_response_is_a_problem_and_never_guessed(output: str, response: Any, problem: str) -> None:
    good = {"label": "a", "top1": [["a", 0.5]], "top2": [["a", 0.5], ["b", 0.2]], "top9": BY_NAME}.get(output, P)
    parsed = output_format(output).parse([good, response])
    assert list(parsed.problems) == [1]
    assert re.search(problem, parsed.problems[1])
    assert bool(parsed.probabilities[1].isnan().all())
    assert bool(parsed.probabilities[0].isfinite().all())


@pytest.mark.parametrize("label", [2, "2", 2.0, "c", 0, None])
def test_an_object_of_classes_is_complete(label: Any) -> None:
    """A class that the file leaves out is unknown, also if its number or name is one of the kit's."""
    names = {"1": "a", "cat": "b", "b": "c", "dog": "d", "3": "e"}
    assert output_format("label", names).parse(["b"]).probabilities[0].argmax() == 2
    assert output_format("label", names).parse([3]).probabilities[0].argmax() == 4
    problem = output_format("label", names).parse([label]).problems[0]
    assert "names in the file of classes" in problem
    assert "names in the file of classes" in output_format("top1", names).parse([[[label, 0.9]]]).problems[0]


@pytest.mark.parametrize("output", ["top0", "prob", "", "top", "labels", "top" + "9" * 5000, "top\u0663"])
def test_unknown_outputs_are_refused(output: str) -> None:
    with pytest.raises(UserError, match="known: probabilities"):
        output_format(output)


@pytest.mark.parametrize("classes", [list("abcd"), list("abcdd"), {"x": "a"}, []])
def test_classes_must_be_the_kits(classes: Any) -> None:
    with pytest.raises(UserError, match="each of the kit's 5 classes once"):
        output_format("label", classes)


@pytest.mark.parametrize("text", ["{", "3", "[[1]]", '{"a": [1]}'])
def test_another_file_than_one_of_classes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UserError, match="classes"):
        load_classes(tmp_path / "c.json")


# ---------------------------------------------------------------- protocols


def suspects_of(net: Any, tmp_path: Path) -> dict[str, SuspectConfig]:
    """The same net by every protocol that needs no server."""
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "net.safetensors")
    return {
        "weights": SuspectConfig(at=str(tmp_path / "net.safetensors"), architecture="A", width=WIDTH),
        "python": SuspectConfig(at="test_suspects:as_function"),
    }


def as_function(images: np.ndarray) -> list[list[float]]:
    """An adapter as users write them."""
    return serve(trained(0))(images)


def query(config: SuspectConfig, images: torch.Tensor = IMAGES, n_classes: int = 10) -> torch.Tensor:
    """The probabilities of its responses."""
    responses = open_suspect(config, SHAPE, n_classes).query(images, 5.0)
    names = tuple(str(i) for i in range(n_classes))
    # As a transcript keeps them.
    return OutputFormat(config.output, names).parse(json.loads(json.dumps(responses))).probabilities


@pytest.mark.parametrize("kind", ["weights", "python", "mlflow"])
def test_every_protocol_gives_the_local_models_bits(kind: str, tmp_path: Path) -> None:
    local = responses_of(trained(0), IMAGES)
    with serving(serve(trained(0))) as endpoint:
        config = {**suspects_of(trained(0), tmp_path), "mlflow": SuspectConfig(at=endpoint.url)}[kind]
        assert config.protocol == kind
        assert torch.equal(query(config), local)


def test_open_inference_protocol() -> None:
    """v2 over REST: one tensor in, one out, flat or nested data."""

    def respond(exchange: Exchange) -> bool:
        found = np.array(serve(trained(0))(exchange.images))
        output = {"name": "y", "shape": list(found.shape), "datatype": "FP64", "data": found.ravel().tolist()}
        exchange.send(200, json.dumps({"outputs": [output]}).encode())
        assert exchange.path == "/v2/models/m/infer"
        return True

    with serving(lambda images: images, respond) as endpoint:
        found = query(SuspectConfig(at=f"{endpoint.url}/v2/models/m"))
    assert torch.equal(found, responses_of(trained(0), IMAGES))
    with pytest.raises(UserError, match="/v2/models/NAME"):
        open_suspect(SuspectConfig(at="http://127.0.0.1:1/elsewhere", kind="oip"), SHAPE, 10)


def test_every_protocol_opens_or_raises_one_line(tmp_path: Path) -> None:
    """A contract: where nothing is, UserError in one line."""
    for kind in SUSPECTS:
        with pytest.raises(UserError) as caught:
            open_suspect(SuspectConfig(at=str(tmp_path / "nothing"), kind=kind), SHAPE, 10)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_secrets_stay_out_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush")
    seen: list[str] = []

    def record(exchange: Exchange) -> bool:
        seen.append(exchange.handler.headers["Authorization"])
        return False

    with serving(serve(trained(0)), record) as endpoint:
        config = SuspectConfig(at=f"{endpoint.url}/invocations?key=hush", headers={"Authorization": "env:MY_TOKEN"})
        query(config)
    assert seen == ["hush"]
    assert "hush" not in json.dumps(describe_suspect(config)) + config.display_name
    refused = serving(serve(trained(0)), lambda exchange: bool(exchange.send(401, b"no") or True))
    with refused as endpoint, pytest.raises(UserError, match="401") as caught:
        query(SuspectConfig(at=f"{endpoint.url}/invocations?key=hush"))
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("MY_TOKEN", "hush\n")
    with pytest.raises(UserError, match="one line of printable") as caught:
        open_suspect(config, SHAPE, 10)
    assert "hush" not in str(caught.value)
    with pytest.raises(UserError, match="not set"):
        open_suspect(SuspectConfig(at="http://h", headers={"A": "env:NO_SUCH_VARIABLE"}), SHAPE, 10)


def transcribed(suspect: Suspect) -> str:
    """All that a transcript would hold of it: its responses, or why there are none."""
    try:
        return json.dumps(suspect.query(IMAGES, 5.0))
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("status", [200, 307, 401])
def test_a_secret_that_is_sent_back_is_redacted(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In responses and in errors: a transcript holds both."""
    monkeypatch.setenv("MY_TOKEN", "Bearer hush-hush-1")

    def echo(exchange: Exchange) -> bool:
        text = f"{exchange.handler.headers['Authorization']} and {exchange.handler.path}"
        body = json.dumps({"predictions": [text] * len(exchange.images)}).encode()
        exchange.send(status, body, {"Location": f"http://x/{text}"})
        return True

    with serving(serve(trained(0)), echo) as endpoint:
        at = f"{endpoint.url}/invocations?key=whisper-2"
        suspect = open_suspect(SuspectConfig(at=at, headers={"Authorization": "env:MY_TOKEN"}), SHAPE, 10)
        text = transcribed(suspect)
    assert "***" in text
    assert "hush" not in text
    assert "whisper" not in text


@pytest.mark.parametrize(
    "written", [lambda text: text.replace("/", "\\/"), lambda text: f"\\u{ord(text[0]):04x}{text[1:]}"]
)
@pytest.mark.parametrize("status", [200, 403])
def test_an_escaped_secret_is_redacted(
    written: Callable[[str], str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON may escape any letter."""
    secret = "abcd/efgh+SECRET1"
    monkeypatch.setenv("MY_TOKEN", secret)

    def echo(exchange: Exchange) -> bool:
        rows = ", ".join([f'{{"{written(secret)}": "{written(secret)}"}}'] * len(exchange.images))
        exchange.send(status, f'{{"predictions": [{rows}]}}'.encode())
        return True

    with serving(serve(trained(0)), echo) as endpoint:
        suspect = open_suspect(SuspectConfig(at=endpoint.url, headers={"Authorization": "env:MY_TOKEN"}), SHAPE, 10)
        text = transcribed(suspect)
    assert "***" in text
    assert "SECRET1" not in text


def test_words_of_a_query_string_change_no_response() -> None:
    """Only its values are redacted, and only in texts: not in keys, nor in numbers."""
    with serving(serve(trained(0))) as endpoint:
        plain = query(SuspectConfig(at=endpoint.url))
        for text in ("return=predictions", "predictions", "fields=predictions&id=00000000", "predictions=12345678"):
            assert query(SuspectConfig(at=f"{endpoint.url}/invocations?{text}")).equal(plain), text


def test_outputs_by_name_as_mlflow_serves_onnx_models() -> None:
    """The first one is used."""

    def named(exchange: Exchange) -> bool:
        rows = exchange.endpoint.model(exchange.images)
        exchange.send(200, json.dumps({"predictions": {"y": rows, "features": [[0.0]] * len(rows)}}).encode())
        return True

    with serving(serve(trained(0))) as plain, serving(serve(trained(0)), named) as endpoint:
        assert query(SuspectConfig(at=endpoint.url)).equal(query(SuspectConfig(at=plain.url)))


@pytest.mark.parametrize("field", ["at", "name"])
@pytest.mark.parametrize("text", ["a\0b.safetensors", "\ud800x"])
def test_an_invalid_text_is_refused(field: str, text: str) -> None:
    with pytest.raises(UserError, match=f"{field}: expected a text"):
        SuspectConfig(**{"at": "http://h", field: text})


def test_a_function_may_return_numpy_numbers() -> None:
    """JSON takes them as any other."""
    suspect = CallableSuspect(lambda images: [[np.float32(0.5), np.int64(1)]] * len(images), InputFormat())
    assert json.loads(json.dumps(suspect.query(IMAGES[:2], 5.0))) == [[0.5, 1]] * 2


def test_a_list_of_classes_numbers_them_also_in_texts() -> None:
    """If the kit's classes are digits, as MNIST's are: `3`, `"3"` and a JSON key are the same index."""
    parsed = OutputFormat("label", ("0", "1", "2"), ["2", "0", "1"]).parse([1, "1", {"label": "1"}])
    assert not parsed.problems
    assert parsed.probabilities.argmax(1).tolist() == [0, 0, 0]


def test_another_file_of_that_name_is_another_suspect(tmp_path: Path) -> None:
    """A verdict must not rest on the responses of two models."""
    path = tmp_path / "private" / "m.onnx"
    path.parent.mkdir()
    descriptions = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        descriptions.append(describe_suspect(SuspectConfig(at=str(path))))
    assert descriptions[0] != descriptions[1]
    assert "private" not in json.dumps(descriptions) + SuspectConfig(at=str(path)).display_name
    queries = [describe_suspect(SuspectConfig(at=f"http://h/invocations?model={name}")) for name in "ab"]
    assert queries[0] != queries[1]


# ---------------------------------------------------------------- hostile input


@pytest.mark.parametrize(
    "at",
    ["file:///etc/passwd", "ftp://host/x", "gopher://host", "http://", "http://user:word@host/", "http://host:99999/"],
)
def test_nothing_but_http_is_opened(at: str) -> None:
    with pytest.raises(UserError, match="suspect") as caught:
        open_suspect(SuspectConfig(at=at), SHAPE, 10)
    assert "word" not in str(caught.value).replace("password", "")


def test_redirects_are_not_followed() -> None:
    with serving(serve(trained(0))) as other, serving(serve(trained(0)), faults.redirect_to(other.url)) as endpoint:
        with pytest.raises(UserError, match="redirect"):
            query(SuspectConfig(at=endpoint.url))
        assert other.requests == 0


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(serve(trained(0))) as endpoint:
        query(SuspectConfig(at=endpoint.url))


@pytest.mark.parametrize("fault", [faults.endless, faults.promised_endless])
def test_a_response_of_10_gb_is_not_read(fault: Any) -> None:
    with serving(serve(trained(0)), fault) as endpoint, pytest.raises(UserError, match="longer one"):
        query(SuspectConfig(at=endpoint.url))


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "message"),
    [
        (400, b"\x1b[31mwrong shape\nsecond line", {}, UserError, "got 400 .*wrong shape"),
        (401, b"", {}, UserError, "got 401"),
        (413, b"", {}, TooLargeError, "413"),
        (503, b"", {"Retry-After": "7"}, TransientError, "503"),
        (500, b"", {}, TransientError, "500"),
        (522, b"", {}, TransientError, "522"),
        (529, b"", {}, TransientError, "529"),
        (501, b"", {}, UserError, "got 501"),
        (600, b"", {}, UserError, "got 600"),
        (200, b'{"predictions": [1]}', {}, TransientError, "expected 7 responses, got 1"),
        (200, b"[" * 100_000, {}, TransientError, "no JSON"),
        (200, b'{"predictions": ' + b"[" * 900 + b"]" * 900 + b"}", {}, TransientError, "nested more than"),
        (200, b'{"predictions": 3}', {}, TransientError, "got int"),
        (200, b'{"predictions": {}}', {}, TransientError, "got dict"),
        (200, b'{"predictions": {"y": [1]}}', {}, TransientError, "expected 7 responses, got 1"),
        (200, b"\x1f\x8b", {"Content-Encoding": "gzip"}, UserError, "compressed"),
    ],
)
def test_replies_of_endpoints(status: int, body: bytes, headers: dict[str, str], error: Any, message: str) -> None:
    def fault(exchange: Exchange) -> bool:
        exchange.send(status, body, headers)
        return True

    with serving(serve(trained(0)), fault) as endpoint, pytest.raises(error, match=message) as caught:
        query(SuspectConfig(at=endpoint.url))
    assert str(caught.value).isprintable()
    assert getattr(caught.value, "retry_after", None) == (7.0 if "Retry-After" in headers else None)


def test_a_refusal_before_the_request_is_read_leads_to_smaller_requests() -> None:
    """Only the headers are read, the rest fits into no buffer: whether the client sees the refusal depends on luck."""
    server = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        line, _ = server.accept()
        line.recv(1000)
        line.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        line.shutdown(socket.SHUT_RD)
        time.sleep(0.3)
        line.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    endpoint = Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", {})
    with pytest.raises((TooLargeError, TransientError)):
        endpoint.post(["0" * 1000] * 20_000, "/", 1, 5.0)
    thread.join(5)
    server.close()


@pytest.mark.parametrize("drip", [b"", b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc" + bytes(5000)])
def test_an_endless_handshake_is_ended_in_time(drip: bytes) -> None:
    """A server that accepts the connection and sends nothing, or a byte of the handshake now and then."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def hold() -> None:
        line, _ = server.accept()
        with line, suppress(OSError):
            for i in range(len(drip)):
                if over.wait(0.02):
                    return
                line.sendall(drip[i : i + 1])
            over.wait(20)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no connection within 0\.6 s") as caught:
        Endpoint(f"https://127.0.0.1:{server.getsockname()[1]}", {}).post([], "/", 1, 0.6)
    assert 0.5 < time.monotonic() - started < 2.0
    assert not caught.value.sent
    over.set()
    thread.join(5)
    server.close()


def test_all_addresses_share_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with many addresses that accept no connection: a queue of one that is full."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = server.getsockname()
    waiting = [socket.socket() for _ in range(4)]
    for line in waiting:
        line.setblocking(False)
        line.connect_ex(address)
    one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [one] * 9)
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no connection within 0\.4 s"):
        Endpoint("http://many.example", {}).post([], "/", 1, 0.4)
    assert time.monotonic() - started < 2.0
    for line in (*waiting, server):
        line.close()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def bombs(where: Path) -> dict[str, bytes]:
    """Pickles: plain, as torch saves them, in a zip."""
    saved = io.BytesIO()
    torch.save({"w": Bomb(where)}, saved)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(where)))
    plain = [pickle.dumps(Bomb(where), protocol) for protocol in (0, 2, 5)]
    return {"0": plain[0], "2": plain[1], "5": plain[2], "torch": saved.getvalue(), "zip": zipped.getvalue()}


@pytest.mark.parametrize("suffix", ["pt", "pkl", "safetensors", "bin", "onnx"])
def test_no_code_of_a_suspect_is_executed(suffix: str, tmp_path: Path) -> None:
    """A pickle with any suffix is refused and not loaded."""
    marker = tmp_path / "executed"
    for name, data in bombs(marker).items():
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(data)
        with pytest.raises(UserError, match="ONNX" if suffix == "onnx" else "never opened") as caught:
            open_suspect(SuspectConfig(at=str(path), architecture="A", width=WIDTH), SHAPE, 10)
        assert "\n" not in str(caught.value)
    assert not marker.exists()
    pickle.loads(bombs(marker)["5"])
    assert marker.exists(), "the pickle does execute code"


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    config = suspects_of(negative(), tmp_path)["weights"]
    for other in ({"architecture": "B"}, {"width": WIDTH + 1}, {"architecture": ""}, {"architecture": "no-such"}):
        with pytest.raises(UserError) as caught:
            open_suspect(SuspectConfig(**{**vars(config), **other}), SHAPE, 10)
        assert "\n" not in str(caught.value)
    whole = (tmp_path / "net.safetensors").read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        (tmp_path / "net.safetensors").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="safetensors"):
            open_suspect(config, SHAPE, 10)


def test_weights_of_the_users_own_code(tmp_path: Path) -> None:
    """By import path, as an owner's model: the state_dict of the module, or of the net in a storage."""
    net = CustomNet("owners_net:make", SHAPE, 10).eval()
    local = responses_of(net, IMAGES)
    for name, module in (("module", net.module), ("stored", net)):
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, tmp_path / f"{name}.safetensors")
        config = SuspectConfig(at=str(tmp_path / f"{name}.safetensors"), architecture="owners_net:make")
        assert config.protocol == "weights"
        assert torch.equal(query(config), local)
        assert describe_suspect(config)["architecture"] == "owners_net:make"
    for path, message in (
        ("nobody:make", "import path"),
        ("owners_net:nothing", "import path"),
        ("owners_net:make_nothing", "torch module"),
        ("owners_net:make_trouble", "ZeroDivisionError"),
        ("torch.nn:Identity", "expected the weights of|TypeError"),
        ("owners_net:make_wide", "size mismatch"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            open_suspect(SuspectConfig(**{**vars(config), "architecture": path}), SHAPE, 10)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not take images"):
        query(config, torch.zeros(2, 1, 9, 9, dtype=torch.uint8))


def test_a_function_of_the_user() -> None:
    for at, message in (
        ("no_such_module:f", "module:name"),
        ("test_suspects:nothing", "module:name"),
        ("json:__name__", "function"),
    ):
        with pytest.raises(UserError, match=message):
            open_suspect(SuspectConfig(at=at, kind="python"), SHAPE, 10)
    with pytest.raises(UserError, match="one response for each of 7"):
        open_suspect(SuspectConfig(at="test_suspects:too_few"), SHAPE, 10).query(IMAGES, 1.0)
    with pytest.raises(UserError, match="ZeroDivisionError"):
        open_suspect(SuspectConfig(at="test_suspects:broken"), SHAPE, 10).query(IMAGES, 1.0)


def too_few(images: np.ndarray) -> list[int]:
    """One response for all images."""
    return [1]


def broken(images: np.ndarray) -> list[int]:
    """An error in the user's code."""
    return [1 // 0]


# ---------------------------------------------------------------- ONNX (the extra)


def onnx_file(path: Path, external: str | None = None, *, in_a_branch: bool = False) -> Path:
    """A linear model of flat images, perhaps with its weights in another file."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    tensor = onnx.numpy_helper.from_array(weights, "w")
    if external is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=external)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if in_a_branch:
        nodes = [helper.make_node("Constant", [], ["w"], value=tensor), *nodes]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", floats, ["n", 64])],
        [helper.make_tensor_value_info("y", floats, ["n", 10])],
        [] if in_a_branch else [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_onnx_equals_its_reference(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    config = SuspectConfig(at=str(onnx_file(tmp_path / "m.onnx")), layout="flat", output="logits")
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    expected = (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights)).softmax(1)
    assert torch.allclose(query(config), expected, atol=1e-5)
    with pytest.raises(UserError, match="give layout flat"):
        query(SuspectConfig(at=config.at, output="logits"))


def bytes_file(path: Path) -> Path:
    """The same linear model of bytes, four images at a time."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32) / 255
    nodes = [
        helper.make_node("Cast", ["x"], ["z"], to=kinds.FLOAT),
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kinds.UINT8, [4, 8, 8])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, [4, 10])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_file_of_bytes_gets_bytes(tmp_path: Path) -> None:
    """At the default scale every pixel would be cut off to 0 or 1: that is refused."""
    pytest.importorskip("onnxruntime")
    config = SuspectConfig(at=str(bytes_file(tmp_path / "m.onnx")), output="logits")
    with pytest.raises(UserError, match=r"declared as uint8.*give scale 0-255"):
        query(config)
    with pytest.raises(UserError, match=r"declared as 4 x 8 x 8.*give layout NHW"):
        query(replace(config, scale="0-255"))
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    expected = (torch.from_numpy(InputFormat("flat").encode(IMAGES)) @ torch.from_numpy(weights)).softmax(1)
    found = query(replace(config, scale="0-255", layout="NHW"))
    assert torch.allclose(found, expected, atol=1e-4)
    assert len(found) == 7, "two batches, the second filled up"


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "beside.bin"])
@pytest.mark.parametrize("in_a_branch", [False, True])
def test_onnx_with_external_data_is_refused(location: str, in_a_branch: bool, tmp_path: Path) -> None:
    """Whatever the location, anywhere in the graph."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "beside.bin").write_bytes(bytes(64 * 10 * 4))
    path = onnx_file(tmp_path / "m.onnx", location, in_a_branch=in_a_branch)
    with pytest.raises(UserError, match="external data"):
        open_suspect(SuspectConfig(at=str(path)), SHAPE, 10)


def test_an_endless_onnx_model_is_stopped(tmp_path: Path) -> None:
    """A loop of 2^62 turns is a valid file: it is stopped at the timeout of the request."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    scalar = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", kinds.INT64), ("c", kinds.BOOL))]
    rows = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", 64]) for name in ("a", "b")]
    turn = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Neg", ["a"], ["b"])]
    on = helper.make_tensor_value_info("on", kinds.BOOL, [])
    body = helper.make_graph(turn, "turn", [*scalar, rows[0]], [on, rows[1]])
    turns = helper.make_tensor("turns", kinds.INT64, [], [2**62])
    always = helper.make_tensor("always", kinds.BOOL, [], [True])
    node = helper.make_node("Loop", ["turns", "always", "x"], ["y"], body=body)
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", 64]) for name in ("x", "y")]
    graph = helper.make_graph([node], "endless", ends[:1], ends[1:], [turns, always])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    suspect = open_suspect(SuspectConfig(at=str(tmp_path / "m.onnx"), layout="flat"), SHAPE, 10)
    with pytest.raises(TransientError, match=r"no response within 0\.5 s"):
        suspect.query(IMAGES, 0.5)


def test_onnx_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"uapfp_dist\[onnx\]"):
        open_suspect(SuspectConfig(at=str(tmp_path / "m.onnx")), SHAPE, 10)
