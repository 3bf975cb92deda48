"""The one exception that a user is meant to see: a line that says what was expected, what came and what to do."""

from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Jobs print its single line and leave with exit code 2, without a traceback."""


class MismatchError(UserError):
    """A host sees another storage or other images than the driver: no later try would end otherwise."""


def known(kind: str, name: str, names: Iterable[str]) -> UserError:
    """The error for an unknown name: lists the known ones, and what a table says of others that it takes."""
    listed = [*sorted(names), *filter(None, [getattr(names, "others", "")])]
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(listed)}")
