"""Foreign text in messages of one line."""


def printable(text: str) -> str:
    """The same on one line that no terminal obeys: control characters, marks that turn the direction of writing and
    lone surrogates become question marks.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def one_line(what: object, most: int = 160) -> str:
    """Foreign words for a line of ours: short, printable, never nothing."""
    return printable(" ".join(str(what).split()))[:most] or type(what).__name__
