"""The help of a subcommand within one screen."""

import re
import textwrap
from collections.abc import Iterator

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.cli.parser.options import Option, options_of
from uapfp_dist.cli.parser.terminal import bold, columns

LEFT = 24
"""Columns of an option and its value."""


def short_help(command: Command, program: str) -> str:
    """Usage, what it does, the usual options in a line or two each, where to read on."""
    options = {option.name: option for option in options_of(command.options, command.default([]))}
    required = "".join(f" --{name} {option.metavar}" for name, option in options.items() if option.required)
    about = (command.about or "").strip("\n")
    lines = [f"{bold('usage:')} {program}{required} [OPTIONS]", "", about, "", bold("options:")]
    for name in command.usual:
        lines += _rows(f"--{name} {options[name].metavar}".rstrip(), _said(options[name]))
    lines += _rows("--help-all", f"Every field, and all there is to say about it ({len(options)} options)")
    return "\n".join(lines)


def _rows(left: str, text: str) -> Iterator[str]:
    """An option beside its text; a long one stands above it."""
    first, *more = textwrap.wrap(text, columns() - LEFT) or [""]
    if len(left) > LEFT - 4:
        yield f"  {left}"
        left = ""
    yield f"  {left:<{LEFT - 2}}{first}".rstrip()
    yield from (" " * LEFT + line for line in more)


def _said(option: Option) -> str:
    """The first sentence of its text, with the default that it does not mention."""
    sentence = re.split(r"(?<=[\w)])\.\s", option.text, maxsplit=1)[0].rstrip(".")
    default = option.default
    if default in (None, "", ()) or isinstance(default, bool) or option.required or "default" in sentence.lower():
        return sentence
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"{sentence} (default: {shown})"
