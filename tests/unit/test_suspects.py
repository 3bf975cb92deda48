"""Suspects by protocol: each gives the local model's bits, and keeps its secrets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import exit_code
from faulty_server import Exchange, serving
from safetensors.torch import save_file
from toy_kit import WIDTH, responses_of, serve, toy_kit, trained
from toy_suspects import IMAGES, SHAPE, query

import uapfp_dist as ufp
from uapfp_dist.errors import UserError
from uapfp_dist.suspects.callable import CallableSuspect
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.registry import SUSPECTS, open_suspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.verification.kit.io import save_kit


def suspects_of(net: Any, tmp_path: Path) -> dict[str, SuspectConfig]:
    """The same net by every protocol that needs no server."""
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "net.safetensors")
    return {
        "weights": SuspectConfig(at=str(tmp_path / "net.safetensors"), architecture="A", width=WIDTH),
        "python": SuspectConfig(at="toy_suspects:as_function"),
    }


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


@pytest.mark.parametrize("kind", ["auto", "http", "onnx"])
@pytest.mark.parametrize("address", ["http://[::1", "http://[::1/v2/models/m", "https://[::g]:8000"])
def test_an_address_that_no_url_has_is_one_line(address: str, kind: str) -> None:
    with pytest.raises(UserError, match=r"^at: expected a URL such as http://HOST:PORT, got one that") as caught:
        SuspectConfig(at=address, kind=kind)
    assert caught.value.argument == "at"
    assert "\n" not in str(caught.value)


def test_an_address_without_a_scheme_is_asked_back() -> None:
    with pytest.raises(UserError, match=r"expected a URL; did you mean http://127\.0\.0\.1:5001\?"):
        open_suspect(SuspectConfig(at="127.0.0.1:5001"), (1, 8, 8), 10)


def test_weights_without_an_architecture_ask_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an option where a command was given, else as a field."""
    save_file({k: v.contiguous() for k, v in trained(0).state_dict().items()}, tmp_path / "stolen.safetensors")
    save_kit(toy_kit(), tmp_path / "kit")
    at = str(tmp_path / "stolen.safetensors")
    words = ("--kit", str(tmp_path / "kit"), "--at", at, "--no-track", "--out", str(tmp_path / "out"))
    assert exit_code("verify", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected the architecture of these weights, got none; give --architecture NAME, where" in line
    assert line.endswith("or package.module:factory of your code (option --architecture)")
    with pytest.raises(UserError, match=r"give architecture NAME, .* code: SuspectConfig\(at=.*") as told:
        ufp.verify(toy_kit(), at)
    assert "--" not in str(told.value)
