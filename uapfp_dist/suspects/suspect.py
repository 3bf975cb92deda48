"""The protocol of suspects, with the errors of a query."""

from typing import Any, Protocol

from torch import Tensor

from uapfp_dist.errors import UserError


class Suspect(Protocol):
    """A model that is known by its responses alone."""

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """One request.

        Args:
            images: (B, c, h, w) uint8.
            timeout: seconds after which the request is given up; a suspect in this process cannot be interrupted.

        Returns:
            B responses as they came, each a JSON value; `OutputFormat.parse` turns them into probabilities.

        Raises:
            TransientError: a retry may help.
            TooLargeError: fewer images per request may help.
            UserError: nothing helps.
        """


class TransientError(Exception):
    """No response this time.

    Args:
        reason: one line.
        sent: False when certainly no image left this machine.
        retry_after: seconds to wait, as the endpoint says; None where it does not.
    """

    def __init__(self, reason: str, *, sent: bool = True, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.sent = sent
        self.retry_after = retry_after


class UnexpectedResponseError(TransientError):
    """A whole response of another shape than expected: as the first one of all it is no accident."""


class RefusedInputError(UserError):
    """The suspect refuses these images; it may take them in another form."""


class InputMismatchError(RefusedInputError):
    """The suspect declares another input than what it would be sent; nothing was sent."""

    sent = False


class NothingSentError(UserError):
    """Nothing helps, and certainly no image left this machine."""

    sent = False


class TooLargeError(Exception):
    """The endpoint refuses requests of this size, or declares that it takes none of it.

    Args:
        reason: one line.
        sent: False when certainly no image left this machine.
        most: images that it takes; None: it does not say.
    """

    def __init__(self, reason: str, *, sent: bool = True, most: int | None = None) -> None:
        super().__init__(reason)
        self.sent = sent
        self.most = most
