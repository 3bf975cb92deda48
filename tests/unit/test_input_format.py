"""Images as a suspect needs them: prepared by a slow reference, and as it declares them."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.declared_input import check_declared
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import InputMismatchError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
