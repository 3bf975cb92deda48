"""Who runs a suspect: what one of an operator's suspects has seen, the operator knows."""

from pathlib import Path
from urllib.parse import urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.config import LOCAL, SuspectConfig

LONGEST_OPERATOR = 200
"""Characters."""


def operator_of(config: SuspectConfig) -> str:
    """The operator that is named, else the host of the address without its port, else the name of file or function.

    Upper and lower case, blanks at the ends and several in a row make no difference. Two hosts of one operator, or a
    file under another name, are only known to belong together where the operator is named.

    Raises:
        UserError: a name that is too long or does not show; an address that is no URL.
    """
    if config.operator:
        return operator_name(config.operator)
    try:
        if config.protocol in LOCAL:
            return _folded(Path(config.at).name)
        if config.protocol == "python":
            return _folded(config.at)
        host = urlsplit(config.at).hostname
    except ValueError as error:
        raise UserError(f"suspect: expected a URL ({one_line(error)}); fix it", argument="at") from error
    return _folded((host or config.display_name).rstrip("."))


def operator_name(text: str) -> str:
    """A name that somebody gave, as the register holds and compares it.

    Raises:
        UserError: it is empty, too long, or holds characters that do not show.
    """
    name = " ".join(text.split())
    if not name or not name.isprintable() or len(name) > LONGEST_OPERATOR:
        raise UserError(
            f"operator: expected a name of at most {LONGEST_OPERATOR} characters that show, got "
            f"{one_line(text, 40)!r}; name another",
            argument="operator",
        )
    return name.casefold()


def _folded(text: str) -> str:
    return one_line(text, LONGEST_OPERATOR).casefold()
