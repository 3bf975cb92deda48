"""The configuration of a suspect."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.input_format import Channels, InputFormat, Layout, Resampling, Scale
from uapfp_dist.suspects.onnx_file import external_digests


@dataclass(frozen=True)
class SuspectConfig:
    """Where a suspect is and how it is queried."""

    at: str = ""
    """A URL, FILE.onnx, FILE.safetensors, or module:function of your code. http(s)://HOST is MLflow's scoring server,
    http(s)://HOST/v2/models/NAME the Open Inference Protocol."""
    name: str = ""
    """Name of the suspect in verdicts and file names (default: made from the address)."""
    operator: str = ""
    """Who runs the suspect: churn points sent to one suspect of an operator are not sent to another one of the same
    operator (default: the host of its address, or the name of its file or function)."""
    kind: str = "auto"
    """Protocol: http (any endpoint, by request and answer), a named one such as tensorflow-serving, torchserve,
    huggingface, fastapi, mlflow or oip, or onnx, weights, python; auto: by what the address looks like."""
    request: Path | None = None
    """JSON file of a request to any HTTP endpoint. "{png}" or "{pixels}" in it is where the image goes,
    with a kit of JPEG files also "{jpeg}"."""
    answer: str = ""
    """Path to labels, scores or pairs in the JSON that comes back. Such as predictions, outputs[0].data, [*].label; two
    paths with a comma between them are labels and their scores (default: all of it)."""
    output: str = "probabilities"
    """Responses: probabilities, logits, top<k>, or label. top<k> are pairs of class and confidence."""
    classes: Path | None = None
    """JSON file for a suspect whose classes are not the kit's: a list of the kit's classes in the suspect's order, or
    an object from the suspect's names to the kit's."""
    layout: Layout = "NCHW"
    """Order of the image's dimensions; NHW: grey images without channels; flat: one row per image."""
    scale: Scale = "0-1"
    """Pixel values; signed: from -1 to 1."""
    channels: Channels = "same"
    """same: as the kit has them; RGB or BGR: three in this order, grey repeated."""
    mean: tuple[float, ...] = ()
    """Subtracted from scaled pixels, as torchvision's Normalize: one number, or one for each channel in the order that
    is sent."""
    std: tuple[float, ...] = ()
    """What they are divided by after that: one number, or one for each channel."""
    size: tuple[int, ...] = ()
    """Size of the images that it takes: one side, or height and width (default: the kit's)."""
    resampling: Resampling = "bilinear"
    """How images are resized: on 8 bits, antialiased unless nearest, as torchvision's Resize does."""
    architecture: str = ""
    """Architecture of a file of weights: a known name, or package.module:factory of your code, which runs here.
    resnet18 is torchvision's own net, at its size or that of resnet18@SIDE; resnet18-small is its variant for small
    images; timm:NAME is one of timm's."""
    width: int = 16
    """Width of an architecture of the paper's Table 1: channels of its first half."""
    ignore_surplus: bool = False
    """Leave out tensors of a file of weights that the architecture does not have, such as an optimizer's."""
    tensor: str = ""
    """Name of the input (Open Inference Protocol; default: the one that the server declares, else `input`)."""
    output_tensor: str = ""
    """Name of the output that is read (Open Inference Protocol: default the first that comes; ONNX: default the only
    one that can be what output says)."""
    datatype: str = ""
    """Datatype of the input (Open Inference Protocol; default: the one that the server declares): FP32, FP16, UINT8,
    BYTES (PNG files), ..."""
    binary: bool = False
    """Send images by the binary tensor extension (Open Inference Protocol)."""
    headers: dict[str, str] = field(default_factory=dict)
    """HTTP headers, such as Authorization env:MY_TOKEN: `env:` takes the value from the environment and
    writes it into no file."""
    ca: Path | None = None
    """PEM file of a private certificate authority, trusted in addition to the system's."""
    client_certificate: Path | None = None
    """PEM file of the client certificate, by which a server authenticates its clients (mutual TLS)."""
    client_key: Path | None = None
    """PEM file of the client certificate's key (default: the same file)."""
    proxy: str = ""
    """http://HOST:PORT of a proxy, or env:HTTPS_PROXY, which may hold a password; no proxy variable of the
    environment is used otherwise."""
    polling: str = ""
    """Answers that come later (HTTP 202): location, the header that names their address, or the path of it in the JSON.
    Only the same host is polled."""
    any_certificate: bool = False
    """Go on although the server shows another certificate than before; the transcript notes each."""

    def __post_init__(self) -> None:
        """Check types and choices, as a JSON file may hold anything.

        Raises:
            UserError: a field of another type or choice.
        """
        for name in FILES:
            if isinstance(value := getattr(self, name), str):  # as a JSON file has it
                object.__setattr__(self, name, Path(value))
        for name, hint in get_type_hints(type(self)).items():
            value, origin = getattr(self, name), get_origin(hint)
            if origin is tuple:
                object.__setattr__(self, name, _numbers(name, value, get_args(hint)[0]))
                continue
            if origin is Literal and value not in get_args(hint):
                raise UserError(
                    f"{name}: expected one of {', '.join(get_args(hint))}, got {value!r:.60}", argument=name
                )
            if origin is not Literal and not isinstance(value, dict if origin is dict else hint):
                raise UserError(f"{name}: expected {getattr(hint, '__name__', hint)}, got {value!r:.60}", argument=name)
        for name in ("at", "name", "operator"):
            if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in getattr(self, name)):
                raise UserError(
                    f"{name}: expected a text, got one with a NUL or a lone surrogate; fix it", argument=name
                )
        if "://" in self.at:
            try:
                urlsplit(self.at)
            except ValueError as error:
                raise UserError(
                    f"at: expected a URL such as http://HOST:PORT, got one that cannot be read ({one_line(error)}); "
                    "fix it",
                    argument="at",
                ) from error
        if not all(isinstance(text, str) for pair in self.headers.items() for text in pair):
            raise UserError("headers: expected an object from names to values, all of them strings", argument="headers")
        _ = self.input_format

    @property
    def input_format(self) -> InputFormat:
        """How images are sent."""
        return InputFormat(self.layout, self.scale, self.channels, self.mean, self.std, self.size, self.resampling)

    @property
    def display_name(self) -> str:
        """The name, or one made from the address without its private parts: the query string, local folders."""
        if self.name or self.protocol == "python":
            return self.name or self.at
        if self.protocol in LOCAL:
            return Path(self.at).name
        return _without_query(self.at).removeprefix("http://").removeprefix("https://").rstrip("/")

    @property
    def protocol(self) -> str:
        """The kind that `auto` stands for."""
        if self.kind != "auto":
            return self.kind
        if self.request is not None:
            return "http"
        if "://" in self.at:
            if re.search(r"/v1/models/[^/]+$|:predict$", urlsplit(self.at).path):
                return "tensorflow-serving"
            return "oip" if "/v2/models/" in urlsplit(self.at).path else "mlflow"
        if self.at.endswith(".onnx"):
            return "onnx"
        module, _, function = self.at.partition(":")
        is_function = function.isidentifier() and all(part.isidentifier() for part in module.split("."))
        return "python" if is_function else "weights"


FILES = ("request", "ca", "client_certificate", "client_key")
"""Fields that are files."""
LOCAL = ("onnx", "weights")
"""Protocols whose address is a file."""


def _numbers(name: str, value: object, kind: type) -> tuple[float, ...]:
    """A number, or a list of them, as a tuple."""
    values = value if isinstance(value, list | tuple) else (value,)
    allowed = (int,) if kind is int else (int, float)
    if any(isinstance(one, bool) or not isinstance(one, allowed) for one in values):
        raise UserError(f"{name}: expected {kind.__name__} or a list of them, got {value!r:.60}", argument=name)
    return tuple(kind(one) for one in values)


def describe_suspect(config: SuspectConfig) -> dict[str, str | int | list[str]]:
    """Whatever decides the responses, as JSON for the transcript; no header values, no query string, no local path.

    A file is identified by its digest, with those of the files of weights beside it. A query string may hold a key: a
    few digits of its digest tell it from another.
    Normalisation and size are there where they are given.
    """
    given: dict[str, str | int | list[str]] = {
        name: [repr(value) for value in values]
        for name, values in (("mean", config.mean), ("std", config.std), ("size", config.size))
        if values
    }
    if config.size:
        given["resampling"] = config.resampling
    for name in ("answer", "datatype", "output_tensor"):
        if value := getattr(config, name):
            given[name] = value
    if config.request is not None:  # it may hold a key
        given["request_sha256"] = hashlib.sha256(config.request.expanduser().read_bytes()).hexdigest()
    local = config.protocol in LOCAL
    query = "" if local else urlsplit(config.at).query
    file, digest = Path(config.at).expanduser(), ""
    if local:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if config.ignore_surplus:
        given["surplus"] = "ignored"
    if config.protocol == "onnx" and (beside := external_digests(file)):
        given["external_data"] = beside
    return {
        "at": file.name if local else _without_query(config.at),
        "file_sha256": digest,
        "query": hashlib.sha256(query.encode()).hexdigest()[:8] if query else "",
        "width": config.width if config.protocol == "weights" else 0,
        "kind": config.protocol,
        "output": config.output,
        "layout": config.layout,
        "scale": config.scale,
        "channels": config.channels,
        "architecture": config.architecture,
        "headers": sorted(config.headers),
        **given,
    }


def _without_query(url: str) -> str:
    return url.partition("?")[0]
