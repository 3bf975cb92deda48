"""The exceptions that decide what happens next."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input. Commands print its single line and leave with exit code 2, without a traceback.

    Args:
        message: what was expected, what came and what to do.
        argument: the argument to change, such as `storage` or `zoo.width`; a command names it as its option.
        options: what the message says of arguments, in its own words, such as `max_queries` or `output logits`; a
            command writes them as they are typed, `--max-queries` and `--output logits`.
    """

    def __init__(self, message: str, *, argument: str = "", options: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.argument = argument
        self.options = tuple(options)


class MismatchError(UserError):
    """A host lacks what the driver has or expects, such as its storage: no later try would end otherwise."""


class PermanentError(RuntimeError):
    """A task cannot be done, and another try would end the same way: its seeds are fixed.

    The message is for a person: one line that needs no traceback.
    """


def unknown_name(kind: str, name: str, names: Iterable[str], *, argument: str = "") -> UserError:
    """The error for an unknown name: the nearest and all known ones, and what a table says of others that it takes."""
    known = sorted(names)
    listed = [*known, *filter(None, [getattr(names, "others", "")])]
    return UserError(f"unknown {kind} {name!r}{nearest(name, known)}; known: {', '.join(listed)}", argument=argument)


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean ...?)` with the known names that look like `name`, or whose last part is its last part."""
    known = list(names)
    last = name.strip("-").rpartition(".")[2]
    found = [*(other for other in known if other.strip("-").rpartition(".")[2] == last)]
    found = list(dict.fromkeys([*found, *get_close_matches(name, known, n=3, cutoff=0.7)]))[:3]
    return f" (did you mean {' or '.join(found)}?)" if found else ""
