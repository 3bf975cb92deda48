"""One request to a suspect in a thread of its own."""

import json
from concurrent.futures import Future
from threading import Thread

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.suspect import Suspect, TransientError


def query_in_background(suspect: Suspect, images: Tensor, timeout: float, longest: int) -> Future[list[object]]:
    """The responses to (B, c, h, w) images. The thread dies with the process: a suspect that hangs holds up nobody.

    Args:
        suspect: whom to query.
        images: (B, c, h, w) uint8.
        timeout: seconds.
        longest: characters of JSON that a response to one image may have.
    """
    future: Future[list[object]] = Future()

    def run() -> None:
        try:
            future.set_result(_checked(suspect.query(images, timeout), longest))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _checked(responses: list[object], longest: int) -> list[object]:
    """The responses, if a transcript can hold them.

    Raises:
        TransientError: one is too long.
        UserError: one is no JSON value.
    """
    try:
        length = max((len(json.dumps(response)) for response in responses), default=0)
    except (TypeError, ValueError) as error:
        raise UserError(f"suspect: expected numbers, texts, lists or objects as answers ({error}); fix it") from error
    if length > longest:
        raise TransientError(f"an answer of {length:,} characters to one image, at most {longest:,} are taken")
    return responses
