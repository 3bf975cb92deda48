"""The one exception that a user is meant to see: a line that says what was expected, what came and what to do."""

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


def printable(text: str) -> str:
    """The same on one line that no terminal obeys: control characters, marks that turn the direction of writing and
    lone surrogates become question marks.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def one_line(what: object, most: int = 160) -> str:
    """Foreign words for a line of ours: short, printable, never nothing."""
    return printable(" ".join(str(what).split()))[:most] or type(what).__name__


def unknown_name(kind: str, name: str, names: Iterable[str], *, argument: str = "") -> UserError:
    """The error for an unknown name: lists the known ones, and what a table says of others that it takes."""
    listed = [*sorted(names), *filter(None, [getattr(names, "others", "")])]
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(listed)}", argument=argument)
