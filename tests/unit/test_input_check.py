"""How a suspect takes its images: prepared as it needs them, checked before the budget is spent, found by trying."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_server import Exchange, serving
from torch import Tensor
from toy_kit import checked_kit, negative, serve, toy_kit, trained
from verify_job import verify_job

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.declared_input import check_declared
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import InputMismatchError, TooLargeError
from uapfp_dist.suspects.usual_formats import usual_formats
from uapfp_dist.verification.input_probing import probe_formats
from uapfp_dist.verification.kit.input_check import N_FIRST, InputCheck, choose_input_check
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.querying import session
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_text import headline
from uapfp_dist.verification.verify import verify

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE", 0.001)


# ---------------------------------------------------------------- preparing images


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "flat"])
@pytest.mark.parametrize("channels", ["same", "RGB", "BGR"])
@pytest.mark.parametrize(
    ("scale", "normalised"), [("0-1", False), ("0-255", False), ("signed", False), ("0-1", True), ("0-255", True)]
)
def test_values_by_a_slow_reference(layout: Any, channels: Any, scale: Any, normalised: bool) -> None:
    """(x - mean) / std per channel in the order that is sent, in 64-bit numbers one by one."""
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    mean, std = (MEAN, STD) if normalised else ((), ())
    found = InputFormat(layout, scale, channels, mean, std).encode(images)
    assert found.dtype == (np.uint8 if scale == "0-255" and not normalised else np.float32)
    for b, y, x, k in np.ndindex(2, 4, 5, 3):
        value = int(images[b, 2 - k if channels == "BGR" else k, y, x])
        expected = {"0-1": value / 255, "0-255": value, "signed": value / 127.5 - 1}[scale]
        if normalised:
            expected = (expected - MEAN[k]) / STD[k]
        at = {"NCHW": (b, k, y, x), "NHWC": (b, y, x, k), "flat": (b, k * 20 + y * 5 + x)}[layout]
        assert found[at] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_one_mean_serves_all_channels() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    one, three = (InputFormat(mean=(0.5,) * n, std=(0.25,) * n).encode(images) for n in (1, 3))
    assert (one == three).all()
    assert (
        InputFormat(mean=(0.5,), std=(0.5,)).encode(images) == InputFormat(scale="signed").encode(images)
    ).mean() > 0.5
    assert InputFormat(mean=(0.5,), std=(0.5,)).encode(images) == pytest.approx(
        InputFormat(scale="signed").encode(images), abs=1e-6
    )


@pytest.mark.parametrize("resampling", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(7,), (12, 20), (3, 3)])
def test_sizes_as_pillow_has_them(resampling: Any, size: tuple[int, ...]) -> None:
    """Another library, image by image; a grey level more or less by rounding."""
    from PIL import Image

    images = torch.randint(0, 256, (3, 1, 8, 9), dtype=torch.uint8)
    h, w = (size * 2)[:2]
    found = InputFormat(scale="0-255", size=size, resampling=resampling).encode(images)
    assert found.shape == (3, 1, h, w)
    for image, got in zip(images, found, strict=True):
        picture = Image.fromarray(image[0].numpy()).resize((w, h), Image.Resampling[resampling.upper()])
        if resampling == "nearest":  # which pixel is nearest, libraries round otherwise
            assert set(got.ravel().tolist()) <= set(image.flatten().tolist())
        else:
            assert np.abs(np.array(picture).astype(int) - got[0]).max() <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (0.5, 0.5)}, "mean: expected one number, or one for each of the 1 channels, got 2"),
        ({"mean": (0.5, 0.5, 0.5), "channels": "same"}, "got 3"),
        ({"std": (0.0,)}, "std: expected numbers of single precision above 0, got 0"),
        ({"mean": (float("nan"),)}, "mean: expected numbers of single precision, got nan"),
        ({"mean": (1e39,)}, "mean: expected numbers of single precision, got 1e+39"),
        ({"layout": "NHW", "channels": "RGB"}, "layout NHW: expected images with 1 channel, got 3"),
        ({"scale": "signed", "std": (0.5,)}, "no mean or std beside it"),
        ({"size": (0,)}, "size: expected one side or height and width"),
        ({"size": (1, 2, 3)}, "size: expected one side"),
        ({"mean": "0.5"}, "mean: expected float or a list of them, got '0.5'"),
        ({"size": [2.5]}, "size: expected int or a list of them"),
        ({"std": [True]}, "std: expected float or a list"),
        ({"resampling": "area"}, "resampling: expected one of"),
    ],
)
def test_what_prepares_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_suspect(SuspectConfig(at="toy_kit:serve", **fields), (1, 8, 8), 10)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_a_json_file_become_tuples() -> None:
    config = SuspectConfig(at="x", mean=[1, 0.5, 0], std=2, size=[4])  # type: ignore[arg-type]
    assert (config.mean, config.std, config.size) == ((1.0, 0.5, 0.0), (2.0,), (4,))


# ---------------------------------------------------------------- what is declared

GREY = (1, 28, 28)


@pytest.mark.parametrize(
    ("given", "declared", "dtype", "advice"),
    [
        (InputFormat(), ("n", 1, 28, 28), "uint8", "give scale 0-255 without mean and std"),
        (InputFormat(scale="signed"), (), "int32", "scale signed gives"),
        (InputFormat(scale="0-255", mean=(1.0,)), (), "uint8", "scale 0-255 with mean or std gives"),
        (InputFormat(scale="0-255"), (), "int8", "expected an input that holds pixels from 0 to 255"),
        (InputFormat(), (-1, 28, 28, 1), "float32", "give layout NHWC"),
        (InputFormat(layout="NHWC"), (None, 1, 28, 28), "float32", "give layout NCHW"),
        (InputFormat(), ("n", 3, 28, 28), "float32", "give channels RGB or BGR"),
        (InputFormat(), ("n", 224, 224, 3), "float32", "give layout NHWC, channels RGB or BGR, size 224 224"),
        (InputFormat(), ("n", 784), "float32", "give layout flat"),
        (InputFormat(), ("n", 4, 4, 4), "float32", "write a function that calls it"),
        (InputFormat(), (1, 2, 3, 4, 5), "float32", "write a function that calls it"),
        (InputFormat(), ("n", 28, 28), "float32", "give layout NHW"),
        (InputFormat(), (None, 32, 32), "float32", "give layout NHW, size 32 32"),
    ],
)
def test_a_declared_input_is_obeyed_or_an_error(given: InputFormat, declared: Any, dtype: str, advice: str) -> None:
    with pytest.raises(InputMismatchError) as caught:
        check_declared("m", given, GREY, declared, np.dtype(dtype))
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "declared", "dtype"),
    [
        (InputFormat(), (), "float64"),
        (InputFormat(), ("n", 1, "h", "w"), "float16"),
        (InputFormat(scale="0-255"), (-1, 1, 28, 28), "uint8"),
        (InputFormat(scale="0-255", layout="NHWC", channels="RGB", size=(32,)), (1, 32, 32, 3), "int64"),
        (InputFormat(layout="flat"), (None, 784), "float32"),
        (InputFormat(layout="NHW"), (None, 28, 28), "float32"),
    ],
)
def test_what_fits_a_declared_input_is_sent(given: InputFormat, declared: Any, dtype: str) -> None:
    check_declared("m", given, GREY, declared, np.dtype(dtype))


def metadata_of(inputs: Any, model: Callable[[np.ndarray], Any], seen: list[Any]) -> Callable[[Exchange], bool]:
    """A server of the Open Inference Protocol that declares its inputs and keeps what it was sent."""

    def respond(exchange: Exchange) -> bool:
        if not exchange.path.endswith("/infer"):
            exchange.send(200, json.dumps({"name": "m", "inputs": inputs}).encode())
            return True
        seen.append(exchange.tensor)
        found = np.array(model(exchange.images))
        output = {"name": "y", "shape": list(found.shape), "datatype": "FP64", "data": found.ravel().tolist()}
        exchange.send(200, json.dumps({"outputs": [output]}).encode())
        return True

    return respond


IMAGES = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)


def over_oip(inputs: Any, **fields: Any) -> tuple[list[Any], list[Any]]:
    """(responses, what the server was sent)."""
    seen: list[Any] = []
    with serving(
        lambda images: images, metadata_of(inputs, lambda x: x.reshape(len(x), -1)[:, :2], seen), metadata=True
    ) as endpoint:
        suspect = open_suspect(SuspectConfig(at=f"{endpoint.url}/v2/models/m", **fields), (1, 8, 8), 2)
        return suspect.query(IMAGES, 5.0), seen


def test_the_type_and_name_that_a_server_declares_are_obeyed() -> None:
    declared = [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    responses, seen = over_oip(declared, scale="0-255")
    assert [(one["name"], one["datatype"]) for one in seen] == [("pixels", "UINT8")]
    assert np.array(responses).tolist() == IMAGES.flatten(1)[:, :2].tolist()
    declared[0]["datatype"] = "FP64"
    _, seen = over_oip(declared)
    assert [one["datatype"] for one in seen] == ["FP64"]


@pytest.mark.parametrize(
    ("inputs", "fields", "message"),
    [
        ([{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}], {}, "give scale 0-255"),
        ([{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8, 1]}], {}, "give layout NHWC"),
        ([{"name": "x", "datatype": "BYTES", "shape": [-1]}], {}, "it declares 'BYTES'"),
        ([{"name": "x", "datatype": "FP32"}, {"name": "y", "datatype": "FP32"}], {}, "name its input in tensor"),
        ([{"name": "x", "datatype": "FP32"}], {"tensor": "z"}, "expected one input z"),
    ],
)
def test_another_declared_input_is_refused_before_anything_is_sent(
    inputs: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputMismatchError) as caught:
        over_oip(inputs, **fields)
    assert message in str(caught.value)


def test_nothing_counts_as_sent_where_the_declared_input_differs(tmp_path: Path) -> None:
    inputs = [{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    with serving(lambda images: images, metadata_of(inputs, lambda x: x, []), metadata=True) as endpoint:
        config = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        with pytest.raises(UserError, match="give scale 0-255"):
            verify(checked_kit(), [config], tmp_path)
    assert '"counts": false' in (tmp_path / "s.transcript.jsonl").read_text()


def test_a_server_without_metadata_is_sent_floats() -> None:
    for inputs in ([], "no list", None, [3]):
        _, seen = over_oip(inputs)
        assert [(one["name"], one["datatype"]) for one in seen] == [("input", "FP32")]


def test_a_server_of_single_images_is_sent_single_images(tmp_path: Path) -> None:
    """As exporters write it: a batch of 1, which a server refuses to exceed."""
    inputs, seen = [{"name": "x", "datatype": "FP32", "shape": [1, 1, 8, 8]}], []
    with serving(lambda images: images, metadata_of(inputs, serve(trained(0)), seen), metadata=True) as endpoint:
        config = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        (case,) = verify(checked_kit(), [config], tmp_path)
    assert case.verdict.claim == "piracy"
    assert {one["shape"][0] for one in seen} == {1}
    assert len(seen) == case.ledger.queries


# ---------------------------------------------------------------- the input check


def reads(image: Callable[[Tensor], Tensor], seed: int = 0) -> Callable[[np.ndarray], Any]:
    """A model that undoes the form of input it expects."""
    net = trained(seed) if seed == 0 else negative()
    return lambda x: serve(net)(image(torch.from_numpy(np.asarray(x, dtype=np.float32))).numpy())


EXPECTS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "bytes": (lambda x: x / 255, {"scale": "0-255"}),
    "[-1, 1]": (lambda x: (x + 1) / 2, {"scale": "signed"}),
    "mean and std": (lambda x: x * 0.1 + 0.9, {"mean": (0.9,), "std": (0.1,)}),
    "another size": (lambda x: torch.nn.functional.avg_pool2d(x, 2), {"size": (16,), "resampling": "nearest"}),
    "another order of dimensions": (lambda x: x.permute(0, 3, 1, 2), {"layout": "NHWC"}),
    "no channels": (lambda x: x[:, None], {"layout": "NHW"}),
    "three channels": (lambda x: x.mean(1, keepdim=True), {"channels": "RGB"}),
}


@pytest.mark.parametrize("name", EXPECTS)
def test_a_stolen_model_is_accused_in_its_own_form(name: str, tmp_path: Path) -> None:
    image, fields = EXPECTS[name]
    with serving(reads(image)) as endpoint:
        (case,) = verify(checked_kit(), [SuspectConfig(at=endpoint.url, name="s", **fields)], tmp_path)
    assert case.verdict.claim == "piracy"
    assert case.verdict.input_check is not None
    assert case.verdict.input_check.passed
    assert case.verdict.input_check.of == N_FIRST


@pytest.mark.parametrize("name", ["bytes", "[-1, 1]", "mean and std"])
def test_another_form_is_told_after_the_first_images(name: str, tmp_path: Path) -> None:
    """Without the check: inconclusive, p 1, and no word. A second run sends nothing more."""
    image, fields = EXPECTS[name]
    with serving(reads(image)) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s")
        for _ in range(2):
            with pytest.raises(UserError, match="does not look like the question this model expects") as caught:
                verify(checked_kit(), [config], tmp_path / "s")
            assert endpoint.images == N_FIRST
        for word in ("scale", "mean and std", "layout", "probe_forms", "anyway"):
            assert word in str(caught.value)
        (case,) = verify(checked_kit(), [config], tmp_path / "s", QueryConfig(anyway=True))
    assert case.verdict.claim == "inconclusive"
    assert "QUERIED ANYWAY" in headline(case)
    assert "\n" not in headline(case)
    assert replay(checked_kit(), [tmp_path / "s" / "s.transcript.jsonl"])[0].verdict == case.verdict
    assert fields


def test_the_first_images_count_and_the_rest_fills_the_budget(tmp_path: Path) -> None:
    kit = checked_kit()
    with serving(serve(trained(0))) as endpoint:
        (case,) = verify(kit, [SuspectConfig(at=endpoint.url, name="s")], tmp_path, QueryConfig(max_queries=30))
    assert case.ledger.queries == endpoint.images <= 30
    assert list(case.ledger.responses)[:N_FIRST] != kit.input_check.first.tolist() if kit.input_check else False
    assert (
        set(list(case.ledger.responses)[:N_FIRST]) == set(kit.input_check.first.tolist()) if kit.input_check else False
    )
    assert case.verdict.claim == "piracy"


def test_a_kit_of_before_has_no_check(tmp_path: Path) -> None:
    """Everything is as it was: also what is sent, and the verdict's text."""
    image, _ = EXPECTS["bytes"]
    with serving(reads(image)) as endpoint:
        (case,) = verify(toy_kit(), [SuspectConfig(at=endpoint.url, name="s")], tmp_path)
    assert case.verdict.input_check is None
    assert "QUERIED" not in headline(case)


def test_the_check_is_part_of_the_kit(tmp_path: Path) -> None:
    kit = checked_kit()
    save_kit(kit, tmp_path / "kit")
    found = load_kit(tmp_path / "kit", kit.digest).input_check
    assert found is not None
    assert kit.input_check is not None
    for name in ("images", "labels", "agrees"):
        assert torch.equal(getattr(found, name), getattr(kit.input_check, name))


def test_the_images_are_those_that_most_agree_on_whatever_the_victim_says() -> None:
    """By a slow reference: by class in turn, by the number of models; a label of the majority."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 40)
    labels = np.where(rng.random((9, 40)) < np.linspace(0.3, 1, 40), truth, rng.integers(0, 4, (9, 40)))
    clean = torch.from_numpy(rng.permutation(40)[:30])
    found = choose_input_check(clean, torch.from_numpy(labels))
    usual = {i: min(range(4), key=lambda c: (-int((labels[:, i] == c).sum()), c)) for i in clean.tolist()}
    votes = {i: int((labels[:, i] == usual[i]).sum()) for i in clean.tolist()}
    ranked: list[tuple[int, int, int, int]] = []
    seen: dict[int, int] = {}
    for position, i in sorted(enumerate(clean.tolist()), key=lambda pair: (-votes[pair[1]], pair[0])):
        seen[usual[i]] = seen.get(usual[i], -1) + 1
        ranked.append((seen[usual[i]], -votes[i], position, i))
    assert found.images.tolist() == [entry[3] for entry in sorted(ranked, key=lambda e: (e[0], e[1], e[2]))]
    assert found.labels.tolist() == [usual[i] for i in found.images.tolist()]
    assert found.agrees.sum(0).tolist() == [votes[i] for i in found.images.tolist()]


def test_resizing_may_cost_a_label() -> None:
    check = InputCheck(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    form = OutputFormat("label", ("a", "b"))
    assert not check.result(form, {3: ["a"], 1: ["a"]}).passed
    assert check.result(form, {3: ["a"], 1: ["a"]}, resized=True).passed
    assert not check.result(form, {3: ["b"], 1: ["a"]}, resized=True).passed


def test_a_form_that_is_named_is_tried_first() -> None:
    """Also where it is none of the usual ones, and with Caffe's means on BGR."""
    given = InputFormat(channels="BGR", scale="0-255")
    first, *others = usual_formats(given, (1, 8, 8))
    assert first[0] == given
    assert (103.939, 116.779, 123.68) in [one.mean for one in first]
    assert len({one for group in (first, *others) for one in group}) == sum(map(len, (first, *others)))


def test_nearly_equal_forms_get_more_images(tmp_path: Path) -> None:
    """The right form may miss a label of the first few by chance, where a wrong one does not."""
    kit = checked_kit()
    assert kit.input_check is not None
    one = kit.images[kit.input_check.first[0]].float().numpy() / 255

    def slips(x: np.ndarray) -> Any:
        """Takes [0, 1], but for the first image; of [-1, 1] every second label is wrong after the first twelve."""
        found = np.array(serve(trained(0))((x + 1) / 2 if x.min() < 0 else x))
        wrong = [(np.abs(image - one).max() < 1e-6) for image in x]
        if x.min() < 0:
            known = kit.images[kit.input_check.first].float().numpy() / 127.5 - 1  # type: ignore[union-attr]
            wrong = [all(np.abs(image - k).max() > 1e-5 for k in known) and i % 2 == 0 for i, image in enumerate(x)]
        found[wrong] = np.roll(found[wrong], 1, axis=1)
        return found.tolist()

    with serving(slips) as endpoint:
        found = probe_formats(kit, SuspectConfig(at=endpoint.url, name="s"), tmp_path, QueryConfig(batch_size=8))
    assert found.tried[0].format == InputFormat()
    assert found.tried[0].result is not None
    assert found.tried[0].result.of > N_FIRST


def test_a_type_that_no_form_fits_ends_the_trying(tmp_path: Path) -> None:
    inputs, tried = [{"name": "x", "datatype": "INT8", "shape": [-1, 1, 8, 8]}], list[object]()
    with serving(lambda images: images, metadata_of(inputs, lambda x: x, []), metadata=True) as endpoint:
        suspect = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        with pytest.raises(UserError, match="wrap it in one that takes those"):
            probe_formats(checked_kit(), suspect, tmp_path, on_tried=tried.append)
    assert not tried


@pytest.mark.parametrize("size", [1, 4, 5])
def test_declared_batches_are_filled_up(size: int) -> None:
    """An ONNX file, and a server that declares them; what is answered to the filling is dropped."""
    from uapfp_dist.suspects.onnx import _in_batches

    parts = _in_batches(np.arange(7), size)
    assert {len(part) for part in parts} == {size}
    assert np.concatenate(parts)[:7].tolist() == list(range(7))
    assert [len(part) for part in _in_batches(np.arange(7), "n")] == [7]
    declared = [{"name": "x", "datatype": "FP32", "shape": [size, 1, 8, 8]}]
    seen: list[Any] = []
    respond = metadata_of(declared, lambda x: x.reshape(len(x), -1)[:, :2], seen)
    with serving(lambda images: images, respond, metadata=True) as endpoint:
        suspect = open_suspect(SuspectConfig(at=f"{endpoint.url}/v2/models/m"), (1, 8, 8), 2)
        images = IMAGES[:3] if size > 1 else IMAGES[:1]
        responses = suspect.query(images, 5.0)
        if size < len(IMAGES):
            with pytest.raises(TooLargeError):
                suspect.query(IMAGES, 5.0)
    assert [one["shape"][0] for one in seen] == [size]
    assert np.array(responses).tolist() == (images.flatten(1)[:, :2].float() / 255).tolist()


def test_a_response_that_cannot_be_read_agrees_with_nobody() -> None:
    check = InputCheck(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    form = OutputFormat("label", ("a", "b"))
    assert check.result(form, {3: ["a"], 1: ["b"]}).passed
    found = check.result(form, {3: ["a"], 1: [None]})
    assert (found.agreed, found.of, found.least, found.passed) == (1, 2, 2, False)
    assert check.result(form, {3: ["a"]}).of == 1


# ---------------------------------------------------------------- trying forms


@pytest.mark.parametrize("name", ["bytes", "[-1, 1]", "another order of dimensions", "no channels", "three channels"])
@pytest.mark.parametrize("output", ["probabilities", "label"])
def test_the_usual_forms_are_tried_and_one_is_proposed(name: str, output: str, tmp_path: Path) -> None:
    image, fields = EXPECTS[name]
    model = reads(image)

    def answer(x: np.ndarray) -> Any:
        return np.array(model(x)).argmax(1).tolist() if output == "label" else model(x)

    def strict(exchange: Exchange) -> bool:
        """A model refuses images of another shape, and a server says 400 or 500."""
        shape = {"NHWC": (8, 8, 1), "NHW": (8, 8), "RGB": (3, 8, 8)}.get(next(iter(fields.values())), (1, 8, 8))
        if exchange.images.shape[1:] == shape:
            return False
        exchange.send(400 if exchange.number % 2 else 500, b"no")
        return True

    with serving(answer, strict) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s", output=output)
        found = probe_formats(checked_kit(), config, tmp_path)
        assert sum(tried.queries for tried in found.tried) == endpoint.images
        config = replace(config, **vars(found.tried[0].format))
        (case,) = verify(checked_kit(), [config], tmp_path)
    assert found.tried[0].fits
    assert InputFormat(**fields) in [tried.format for tried in (found.tried[0], *found.equal)]
    assert found.untried == 0
    assert case.verdict.claim == "piracy"


def test_forms_are_tried_within_the_budget_and_not_again(tmp_path: Path) -> None:
    image, _ = EXPECTS["[-1, 1]"]
    with serving(reads(image)) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s")
        found = probe_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=40))
        assert [tried.queries for tried in found.tried] == [N_FIRST] * 3
        assert found.untried > 3
        assert endpoint.images == 3 * N_FIRST
        again = probe_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=40))
        assert again == found
        assert endpoint.images == 3 * N_FIRST
        with pytest.raises(UserError, match="max_queries: expected at least 12 images"):
            probe_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=5))


@pytest.mark.parametrize(
    ("status", "message", "requests"),
    [(401, "got 401 .*; check headers", 1), (404, "got 404", 1), (400, "no form of input got", None)],
)
def test_nothing_is_proposed_where_nothing_answers(
    status: int, message: str, requests: int | None, tmp_path: Path
) -> None:
    """A refusal that no form can help ends it at once."""

    def refuse(exchange: Exchange) -> bool:
        exchange.send(status, b"no")
        return True

    with serving(serve(trained(0)), refuse) as endpoint:
        with pytest.raises(UserError, match=message):
            probe_formats(checked_kit(), SuspectConfig(at=endpoint.url), tmp_path)
        assert endpoint.requests == (requests or endpoint.requests)
    tried: list[object] = []
    with pytest.raises(UserError, match="no connection"):
        probe_formats(checked_kit(), SuspectConfig(at="http://127.0.0.1:1"), tmp_path / "dead", on_tried=tried.append)
    assert not tried
    with pytest.raises(UserError, match="expected a function"):
        probe_formats(checked_kit(), SuspectConfig(at="no_module:f"), tmp_path / "other")
    with pytest.raises(UserError, match="of an earlier version"):
        probe_formats(toy_kit(), SuspectConfig(at="toy_kit:serve"), tmp_path / "other")


def byte_model(images: np.ndarray) -> Any:
    """Expects 0 to 255."""
    return serve(trained(0))(np.asarray(images, dtype=np.float32) / np.float32(255))


def test_the_job_proposes_the_options_that_then_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_kit(checked_kit(), tmp_path / "kit")
    words = ["--kit", str(tmp_path / "kit"), "--at", "test_input_check:byte_model", "--no-track"]

    def job(*more: str) -> str:
        verify_job(monkeypatch, *words, "--out", str(tmp_path / "out"), *more)
        return capsys.readouterr().out

    proposed = job("--probe-forms").split("proposed")[1].splitlines()[0]
    assert "--scale 0-255" in proposed
    assert ": piracy" in job("--scale", "0-255")
    with pytest.raises(UserError, match="no replay, suspects or anyway"):
        job("--probe-forms", "--anyway")
