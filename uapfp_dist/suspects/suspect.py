"""What every suspect can do, and the ways in which asking it can fail."""

from typing import Any, Protocol

from torch import Tensor


class Suspect(Protocol):
    """A model that is known by its answers alone."""

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """One request.

        Args:
            images: (B, c, h, w) uint8.
            timeout: seconds after which the request is given up; a suspect in this process cannot be interrupted.

        Returns:
            B answers as they came, each a JSON value; `OutputForm.read` makes probabilities of them.

        Raises:
            TransientError: asking again may help.
            TooLargeError: fewer images at once may help.
            UserError: nothing helps.
        """


class TransientError(Exception):
    """No answer this time.

    Args:
        why: one line.
        sent: False when certainly no image left this machine.
        after: seconds that the endpoint asks to wait; None where it says nothing.
    """

    def __init__(self, why: str, *, sent: bool = True, after: float | None = None) -> None:
        super().__init__(why)
        self.sent = sent
        self.after = after


class TooLargeError(Exception):
    """The endpoint refuses requests of this size (HTTP 413)."""
