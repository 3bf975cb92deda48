"""A suspect behind any HTTP endpoint: a template of the request, a path into the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.serialization import Json
from uapfp_dist.suspects.answer_path import AnswerPath, PathError
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.http_presets import HttpPreset
from uapfp_dist.suspects.image_files import check_files, png_files
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.reply import one_per_image
from uapfp_dist.suspects.request_template import FILES, JPEG, PNG, EncodedImages, RequestTemplate
from uapfp_dist.suspects.suspect import TooLargeError, UnexpectedResponseError


class HttpSuspect:
    """A model behind an endpoint that takes `preset.request` and answers at `preset.answers`.

    Args:
        endpoint: where it is.
        preset: the protocol.
        input_format: of the images.
        shape: (c, h, w) of the kit's images.

    Raises:
        UserError: a template or path that is none; a form of input that its files cannot have.
    """

    def __init__(
        self, endpoint: Endpoint, preset: HttpPreset, input_format: InputFormat, shape: tuple[int, int, int]
    ) -> None:
        self._endpoint, self._preset, self._input_format = endpoint, preset, input_format
        self._template = RequestTemplate(preset.request)
        self._answers = [AnswerPath(text) for text in preset.answers]
        self.largest_batch = None if self._template.batched else 1
        """Images that a request may hold; None: no limit is known."""
        endpoint.keep_secret(self._template.secrets)
        if self._template.file:
            check_files(input_format, shape, FILES[self._template.file])
        self.jpeg_files: Mapping[bytes, bytes] = {}
        """The bytes of an image's pixels to its JPEG file; needed where `takes_jpeg`."""
        path = endpoint.path
        path = preset.path if preset.path and path in ("", "/") else path
        self._path = path if path.endswith(preset.suffix) else path.rstrip("/") + preset.suffix

    @property
    def takes_jpeg(self) -> bool:
        """Whether images are sent as JPEG files, which are a kit's."""
        return self._template.file == JPEG

    @property
    def certificate(self) -> str:
        """See `Endpoint.certificate`."""
        return self._endpoint.certificate

    @certificate.setter
    def certificate(self, expected: str) -> None:
        self._endpoint.certificate = expected

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`."""
        n_images = len(images)
        if n_images > 1 and not self._template.batched:
            raise TooLargeError("its request holds one image", sent=False, most=1)
        body = self._template.fill(self._encoded(images))
        reply = self._endpoint.post(body, self._path, n_images, timeout, self._is_answer)
        try:
            found = self._found(reply)
        except PathError as error:
            raise UnexpectedResponseError(str(error)) from error
        return list(one_per_image(found, n_images)) if self._template.batched else [found]

    def _encoded(self, images: Tensor) -> EncodedImages:
        values = self._input_format.encode(images).tolist() if self._template.takes_values else ()
        files: Sequence[bytes] = ()
        if self._template.file == PNG:
            files = png_files(np.ascontiguousarray(self._input_format.pixels(images)))
        elif self._template.file == JPEG:
            files = [self.jpeg_files[image.numpy().tobytes()] for image in images.cpu()]
        return EncodedImages(values, files)

    def _found(self, reply: Json) -> Json:
        """The value at the first path that finds one."""
        failures = []
        for path in self._answers:
            try:
                found = path.find(reply, batched=self._template.batched)
            except PathError as error:
                failures.append(error)
                continue
            if self._preset.outputs_by_name and isinstance(found, dict) and found and not failures:
                return next(iter(found.values()))
            if not failures or isinstance(found, list):
                return found
        raise failures[0]

    def _is_answer(self, reply: Json) -> bool:
        """Whether a reply holds an answer already, of an endpoint that is polled."""
        try:
            return self._found(reply) is not None
        except PathError:
            return False
