"""The exceptions that decide what happens next."""

from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Commands print its single line and leave with exit code 2, without a traceback.

    Args:
        message: what was expected, what came and what to do.
        argument: the argument to change, such as `storage` or `zoo.width`; a command names it as its option.
    """

    def __init__(self, message: str, *, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


class MismatchError(UserError):
    """A host sees another storage or other images than the driver: no later try would end otherwise."""


class PermanentError(RuntimeError):
    """A task cannot be done, and another try would end the same way: its seeds are fixed.

    The message is for a person: one line that needs no traceback.
    """


def unknown_name(kind: str, name: str, names: Iterable[str], *, argument: str = "") -> UserError:
    """The error for an unknown name: lists the known ones, and what a table says of others that it takes."""
    listed = [*sorted(names), *filter(None, [getattr(names, "others", "")])]
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(listed)}", argument=argument)
