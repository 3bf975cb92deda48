"""A request to any HTTP endpoint as JSON, in which words in braces stand for the images.

    {"json": {"instances": [{"b64": "{png}"}, "..."]}}      a batch: what stands before "..." once for each image
    {"json": {"image": "{pixels}"}}                         one image a request
    {"multipart": {"file": "{png}", "top_k": "5"}}          a form with a file
    {"body": "{png}"}                                       the bytes of the file alone

`{pixels}` are nested numbers in the form that `InputFormat` gives; `{png}` is a PNG file, in JSON as base64; `{jpeg}`
likewise the JPEG file of a kit that was enrolled with such files.
"""

import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from urllib3.filepost import encode_multipart_formdata

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.serialization import Json

PIXELS, PNG, JPEG, REPEAT = "{pixels}", "{png}", "{jpeg}", "..."
FILES = {PNG: "png", JPEG: "jpeg"}
"""Place for a file to its kind, as in image/png and image.png."""
WORD = re.compile(r"\{[a-z0-9_]+\}")
KINDS = ("json", "multipart", "body")
DEEPEST = 20
"""Of nested lists and objects in a template."""


@dataclass(frozen=True)
class HttpBody:
    """The body of a request."""

    data: bytes
    content_type: str


def json_body(value: object) -> HttpBody:
    """A JSON value as a body."""
    return HttpBody(json.dumps(value).encode(), "application/json")


@dataclass(frozen=True)
class EncodedImages:
    """B images as a request holds them."""

    values: Sequence[Json]
    """Nested numbers of each; empty where no place needs them."""
    files: Sequence[bytes]
    """A PNG or JPEG file of each; likewise."""

    def __len__(self) -> int:
        return max(len(self.values), len(self.files))


class RequestTemplate:
    """A request with places for images.

    Args:
        template: an object with one of the keys `json`, `multipart` and `body`; a text `env:NAME` in it is read from
            the environment.

    Raises:
        UserError: no such object, no place for the image, or places for one and for several.
    """

    def __init__(self, template: Json) -> None:
        if not isinstance(template, dict) or len(template) != 1 or (kind := next(iter(template))) not in KINDS:
            raise _refused(f'an object with one of the keys {", ".join(KINDS)}, such as {{"body": "{PNG}"}}')
        if _depth(template) > DEEPEST:
            raise _refused(f"JSON at most {DEEPEST} deep")
        self._kind = kind
        self.secrets: list[str] = []
        """Values that came from the environment."""
        self._value = self._resolved(template[kind])
        places = list(_places(self._value, repeated=False))
        if not places:
            raise _refused(f"a place for the image, {PIXELS}, {PNG} or {JPEG}")
        if len(files := {place for place, _ in places if place in FILES}) > 1:
            raise _refused(f"files of one kind, {PNG} or {JPEG}, not both")
        self.file = next(iter(files), "")
        """The place for files: {png}, {jpeg}, or empty where images are sent as numbers alone."""
        if len({repeated for _, repeated in places}) > 1:
            raise _refused('one image a request or a batch (before "..."), not both')
        self.batched = places[0][1]
        """Whether a request holds several images."""
        self.takes_values = any(place == PIXELS for place, _ in places)
        """Whether images are sent as numbers."""
        if kind == "body" and self._value not in FILES:
            raise _refused(f'{PNG} or {JPEG} as "body"; give numbers as "json"')
        if kind == "multipart":
            _check_form(self._value)

    def fill(self, images: EncodedImages) -> HttpBody:
        """The request for these images, for exactly one if it is not `batched`."""
        if self._kind == "body":
            return HttpBody(images.files[0], f"image/{FILES[self.file]}")
        if self._kind == "json":
            return json_body(_filled(self._value, images, 0))
        assert isinstance(self._value, dict)
        fields: list[tuple[str, str | tuple[str, bytes, str]]] = []
        for name, value in self._value.items():
            if isinstance(value, list):
                fields += [(name, _part(value[0], images, i)) for i in range(len(images))]
            else:
                fields.append((name, _part(value, images, 0)))
        return HttpBody(*encode_multipart_formdata(fields))

    def _resolved(self, value: Json) -> Json:
        """The same with `env:NAME` replaced by its value."""
        if isinstance(value, dict):
            return {key: self._resolved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if not isinstance(value, str) or not re.fullmatch(r"env:\w+", value):
            return value
        if (found := os.environ.get(value[4:])) is None:
            raise _refused(f"the environment variable {value[4:]}, it is not set", "export it")
        self.secrets.append(found)
        return found


def load_request(path: Path) -> Json:
    """The template in a JSON file.

    Raises:
        UserError: no such file, or no JSON.
    """
    try:
        found: Json = json.loads(path.expanduser().read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"a JSON file at {path} ({one_line(error)})", "write one") from error
    return found


def _refused(expected: str, remedy: str = "fix the template") -> UserError:
    return UserError(f"request: expected {expected}; {remedy}", argument="request")


def _depth(value: Json) -> int:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max(map(_depth, children), default=0)


def _places(value: Json, *, repeated: bool) -> Iterator[tuple[str, bool]]:
    """Every place for an image, and whether it is repeated.

    Raises:
        UserError: a word that stands for nothing, "..." where nothing is repeated.
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from _places(item, repeated=repeated)
    elif isinstance(value, list):
        if REPEAT in value and (len(value) != 2 or value[1] != REPEAT or repeated):
            raise _refused(f'"{REPEAT}" as the second and last item of a list, and in no list within another such one')
        several = REPEAT in value
        for item in value[:1] if several else value:
            yield from _places(item, repeated=repeated or several)
    elif isinstance(value, str):
        found = [place for place in FILES if place in value] or [PIXELS] * (value == PIXELS)
        yield from ((place, repeated) for place in found)
        if not found and (WORD.fullmatch(value) or PIXELS in value):
            raise _refused(f"{PIXELS} (alone in its text), {PNG} or {JPEG}, got {one_line(value, 40)}")


def _check_form(value: Json) -> None:
    if not isinstance(value, dict):
        raise _refused('an object of fields as "multipart"')
    for field in value.values():
        item = field[0] if isinstance(field, list) and field[1:] == [REPEAT] else field
        if not isinstance(item, str | int | float):
            raise _refused("texts, numbers or files as fields of a form")
        if item == PIXELS or (isinstance(item, str) and item not in FILES and any(file in item for file in FILES)):
            raise _refused(f"{PNG} or {JPEG} alone as a field of a form")


def _part(value: Json, images: EncodedImages, i: int) -> str | tuple[str, bytes, str]:
    """A field of a form: the file of image `i`, or a text."""
    if value in FILES and isinstance(value, str):
        return f"image.{FILES[value]}", images.files[i], f"image/{FILES[value]}"
    return value if isinstance(value, str) else json.dumps(value)


def _filled(value: Json, images: EncodedImages, i: int) -> Json:
    """The value with image `i`, and all of them where something is repeated."""
    if isinstance(value, dict):
        return {key: _filled(item, images, i) for key, item in value.items()}
    if isinstance(value, list):
        if value[1:] == [REPEAT]:
            return [_filled(value[0], images, n) for n in range(len(images))]
        return [_filled(item, images, i) for item in value]
    if not isinstance(value, str):
        return value
    if value == PIXELS:
        return images.values[i]
    for place in FILES:
        if place in value:
            return value.replace(place, base64.b64encode(images.files[i]).decode())
    return value
