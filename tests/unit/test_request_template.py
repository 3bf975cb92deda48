"""Templates of requests, paths into answers, files of images: what they make, and what they refuse in one line."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from protocol_servers import Request, of_file, serving_protocol, upload
from toy_kit import checked_kit, negative, serve, trained
from toy_suspects import IMAGES, SHAPE

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.answer_path import AnswerPath, PathError
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.image_files import png_files
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.request_template import EncodedImages, RequestTemplate
from uapfp_dist.suspects.suspect import InputMismatchError, TooLargeError
from uapfp_dist.verification.format_search import try_formats
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.verify import verify

TWO = EncodedImages([[[1, 2]], [[3, 4]]], [b"a", b"b"])
ONE = EncodedImages([[[1, 2]]], [b"a"])


def filled(template: Any, images: EncodedImages = TWO) -> Any:
    """The JSON of a request."""
    return json.loads(RequestTemplate({"json": template}).fill(images).data)


def test_a_list_with_dots_holds_what_stands_before_them_once_for_each_image() -> None:
    assert filled({"inputs": ["{pixels}", "..."]}) == {"inputs": [[[1, 2]], [[3, 4]]]}
    b64 = [base64.b64encode(file).decode() for file in TWO.files]
    assert filled([{"b64": "{png}"}, "..."]) == [{"b64": b64[0]}, {"b64": b64[1]}]
    several = {"inputs": {"x": ["{pixels}", "..."], "t": [0.5, "..."], "k": [1, 2]}}
    assert filled(several)["inputs"] == {"x": [[[1, 2]], [[3, 4]]], "t": [0.5, 0.5], "k": [1, 2]}
    columns = {"dataframe_split": {"columns": ["image", "n"], "data": [["{png}", 3], "..."]}}
    assert filled(columns)["dataframe_split"]["data"] == [[b64[0], 3], [b64[1], 3]]


def test_one_image_a_request() -> None:
    assert filled({"image": "data:image/png;base64,{png}", "k": None}, ONE) == {
        "image": f"data:image/png;base64,{base64.b64encode(b'a').decode()}",
        "k": None,
    }
    body = RequestTemplate({"body": "{png}"}).fill(ONE)
    assert (body.data, body.content_type) == (b"a", "image/png")


def test_a_form() -> None:
    template = RequestTemplate({"multipart": {"files": ["{png}", "..."], "top_k": 5, "mode": "full"}})
    body = template.fill(TWO)
    form = Request("/", {"Content-Type": body.content_type}, body.data).form()
    assert form == {
        "files": [("image.png", b"a"), ("image.png", b"b")],
        "top_k": [(None, b"5")],
        "mode": [(None, b"full")],
    }


def test_jpeg_files_are_called_what_they_are() -> None:
    """In a body, in a form, in JSON."""
    one = EncodedImages((), [b"a"])
    assert RequestTemplate({"body": "{jpeg}"}).fill(one).content_type == "image/jpeg"
    body = RequestTemplate({"multipart": {"file": "{jpeg}"}}).fill(one)
    assert Request("/", {"Content-Type": body.content_type}, body.data).form() == {"file": [("image.jpeg", b"a")]}
    assert b"Content-Type: image/jpeg" in body.data
    body = RequestTemplate({"json": {"b64": "data:image/jpeg;base64,{jpeg}"}}).fill(one)
    assert json.loads(body.data) == {"b64": "data:image/jpeg;base64,YQ=="}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"json": {"inputs": 3}}, "a place for the image"),
        ({"body": "x"}, "a place for the image"),
        ({"body": "{pixels}"}, 'as "body"'),
        ([], "an object with one of the keys"),
        ({"json": "{png}", "body": "{png}"}, "an object with one of the keys"),
        ({"xml": "{png}"}, "an object with one of the keys"),
        ({"json": ["{png}", ["{png}", "..."]]}, "not both"),
        ({"json": [["{png}", "..."], "..."]}, "no list within another"),
        ({"json": ["{png}", "...", 3]}, "second and last item"),
        ({"json": "{image}"}, "got {image}"),
        ({"json": "x {pixels}"}, "alone in its text"),
        ({"json": "{jpeg90}"}, "got {jpeg90}"),
        ({"body": "{jpg}"}, "got {jpg}"),
        ({"json": ["{png}", "{jpeg}"]}, "files of one kind"),
        ({"json": {"image": "{png}{jpeg}"}}, "files of one kind"),
        ({"multipart": {"file": "x{jpeg}"}}, "alone as a field"),
        ({"multipart": {"file": "{pixels}"}}, "alone as a field"),
        ({"multipart": {"file": {"a": "{png}"}}}, "fields of a form"),
        ({"multipart": "{png}"}, "an object of fields"),
        ({"json": {"image": "{png}", "key": "env:NO_SUCH_VARIABLE"}}, "it is not set"),
    ],
)
def test_a_template_that_makes_no_sense(template: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        RequestTemplate(template)
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "request"


def test_a_template_nested_without_end(tmp_path: Path) -> None:
    deep: Any = "{png}"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(UserError, match="deep"):
        RequestTemplate({"json": deep})
    for text, name in (("{", "a.json"), ("[" * 100_000, "b.json")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="a JSON file at"):
            open_suspect(SuspectConfig(at="http://h/x", request=tmp_path / name), SHAPE, 10)
    with pytest.raises(UserError, match="expected a JSON file for kind http"):
        open_suspect(SuspectConfig(at="http://h/x", kind="http"), SHAPE, 10)


@pytest.mark.parametrize(
    ("path", "batched", "expected"),
    [
        ("$", False, None),
        ("", False, None),
        ("a.b[1]", False, 2),
        ("$.a.b[-1]", False, 3),
        ("rows[*].label", True, ["x", "y"]),
        ("rows[*].label,rows[*].p", True, [[["x", 0.5]], [["y", 0.25]]]),
        ("names,p", False, [["x", 1], ["y", 0]]),
        ("rows[0].label,rows[0].p", False, [["x", 0.5]]),
        ('["odd, key"][0]', False, 7),
        ('rows[*]["label"]', True, ["x", "y"]),
    ],
)
def test_paths(path: str, batched: bool, expected: Any) -> None:
    reply = {
        "a": {"b": [1, 2, 3]},
        "rows": [{"label": "x", "p": 0.5}, {"label": "y", "p": 0.25}],
        "names": ["x", "y"],
        "p": [1, 0],
        "odd, key": [7],
    }
    assert AnswerPath(path).find(reply, batched=batched) == (reply if expected is None else expected)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("b", "b finds nothing: no 'b' in an object with 'a'"),
        ("a[3]", r"no \[3\] in a list of 2"),
        ("a[0].x", r"a\[0\].x finds nothing: no 'x' in 1"),
        ("[*].a", r"expected a list at \[\*\]"),
        ("a,b", "finds nothing"),
        ("a,s", "as many scores"),
    ],
)
def test_a_path_that_finds_nothing(path: str, message: str) -> None:
    with pytest.raises(PathError, match=message):
        AnswerPath(path).find({"a": [1, 2], "s": [1]} if path == "a,s" else {"a": [1, 2]}, batched=False)


@pytest.mark.parametrize("text", ["a[", "a[x]", "a,b,c", "a b]", "a..b", "['a", "a[*"])
def test_a_text_that_is_no_path(text: str) -> None:
    with pytest.raises(UserError, match="answer: expected a path"):
        AnswerPath(text)


@pytest.mark.parametrize("channels", ["same", "RGB", "BGR"])
def test_a_png_file_holds_the_same_pixels(channels: Any) -> None:
    form = InputFormat(channels=channels)
    colour = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8)
    for images in (IMAGES, colour):
        pixels = form.pixels(images)
        for file, expected in zip(png_files(pixels), pixels, strict=True):
            found = np.asarray(Image.open(io.BytesIO(file)))
            found = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
            assert (found == expected).all()


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ({"scale": "0-255"}, "scale"),
        ({"mean": (0.5,)}, "mean"),
        ({"std": (0.5,)}, "std"),
        ({"layout": "NHWC"}, "layout"),
    ],
)
def test_a_form_that_no_file_has_is_refused(fields: dict[str, Any], argument: str) -> None:
    with pytest.raises(InputMismatchError, match="images are sent as PNG files") as caught:
        open_suspect(SuspectConfig(at="http://h/x", kind="fastapi", **fields), SHAPE, 10)
    assert caught.value.argument == argument
    with pytest.raises(InputMismatchError, match="1 or 3 channels"):
        open_suspect(SuspectConfig(at="http://h/x", kind="fastapi"), (2, 8, 8), 10)


def test_a_key_in_a_template_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the environment nor written there; what comes back is redacted. Another template: another suspect."""
    monkeypatch.setenv("MY_KEY", "hush-hush-1")
    path = tmp_path / "request.json"
    path.write_text('{"multipart": {"file": "{png}", "key": "env:MY_KEY", "user": "whisper"}}')

    def echo(request: Request, model: Any) -> tuple[int, Any]:
        ((_, key),) = request.form()["key"]
        return 1, {"label": key.decode()}

    with serving_protocol(echo, serve(trained(0))) as server:
        config = SuspectConfig(at=server.url, request=path, output="label", answer="label")
        suspect = open_suspect(config, SHAPE, 10)
        assert suspect.query(IMAGES[:1], 5.0) == ["***"]
        with pytest.raises(TooLargeError):
            suspect.query(IMAGES, 5.0)
    before = describe_suspect(config)
    assert "hush" not in json.dumps(before)
    assert "whisper" not in json.dumps(before)
    path.write_text('{"multipart": {"file": "{png}"}}')
    assert describe_suspect(config) != before


@pytest.mark.parametrize(
    ("response", "output"),
    [({"label": "3", "score": 0.9}, "top1"), ([{"label": "3", "score": 0.9}], "top1"), ({"3": 0.9}, "top1")],
)
def test_one_pair_however_it_is_written(response: Any, output: str) -> None:
    parsed = OutputFormat(output, tuple(map(str, range(10)))).parse([response])
    assert not parsed.problems
    assert parsed.raw[0].tolist() == [0.0] * 3 + [0.9] + [0.0] * 6


def test_a_template_verifies_an_upload(tmp_path: Path) -> None:
    """The walk of the README in this process; the forms that a file can have are probed, too."""
    path = tmp_path / "upload.json"
    path.write_text('{"multipart": {"file": "{png}"}}')
    for name, net, claim in (("stolen", trained(0), "piracy"), ("independent", negative(), "inconclusive")):
        with serving_protocol(upload("file"), serve(net)) as server:
            config = SuspectConfig(at=f"{server.url}/predict", request=path, answer="label", output="label", name=name)
            assert config.protocol == "http"
            (case,) = verify(checked_kit(), [config], tmp_path / name, QueryConfig(concurrency=4))
            assert case.verdict.claim == claim
            assert server.images == case.ledger.queries
            assert {request.path for request in server.requests} == {"/predict"}
            if name == "stolen":
                probed = try_formats(checked_kit(), config, tmp_path / "forms")
                assert probed.tried[0].fits
                assert server.images == case.ledger.queries + sum(tried.queries for tried in probed.tried)
    assert of_file(png_files(IMAGES.numpy())[0], serve(trained(0))).shape == (10,)
