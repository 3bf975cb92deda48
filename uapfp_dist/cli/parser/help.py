"""The help of a subcommand: the usual options within one screen, or all of them."""

import re
import textwrap
from collections.abc import Iterable, Iterator

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.cli.parser.options import Option
from uapfp_dist.cli.parser.terminal import bold, columns

LEFT = 24
"""Columns of an option and its value."""
INDENT = 6
"""Columns before an option's whole text."""


def short_help(command: Command, program: str) -> str:
    """Usage, what it does, the usual options in a line or two each, where to read on."""
    options = {option.name: option for option in command.options_from(command.default([]))}
    lines = [*_head(command, program, options.values()), bold("options:")]
    for name in command.usual:
        lines += _rows(f"--{name} {options[name].metavar}".rstrip(), _said(options[name]))
    lines += _rows("--help-all", f"Every field, and all there is to say about it ({len(options)} options)")
    return "\n".join(lines)


def full_help(command: Command, program: str, default: object) -> str:
    """Every option with its whole text, and its default in `default`; those of a dataclass below what it is for."""
    sections: dict[str, list[Option]] = {"": []}
    options = list(command.options_from(default))
    for option in options:
        sections.setdefault(option.name.rpartition(".")[0], []).append(option)
    lines = _head(command, program, options)
    for name, inside in sections.items():
        lines += [bold(f"{name} options:".lstrip()), *(textwrap.wrap(inside[0].section, columns()) if name else ())]
        for option in inside:
            either = ", ".join(option.spellings)
            value = option.metavar + ("|None" if option.may_be_none else "")
            lines += [f"  {either} {value}".rstrip()]
            lines += (" " * INDENT + line for line in textwrap.wrap(_with_default(option), columns() - INDENT))
        lines += [""]
    return "\n".join(lines).rstrip()


def _head(command: Command, program: str, options: Iterable[Option]) -> list[str]:
    required = "".join(f" --{option.name} {option.metavar}" for option in options if option.required)
    return [f"{bold('usage:')} {program}{required} [OPTIONS]", "", (command.about or "").strip("\n"), ""]


def _with_default(option: Option) -> str:
    """The whole text, and the default where the text does not say what happens without a value."""
    if option.required:
        return f"{option.text} (required)"
    if "default:" in option.text or (option.default is None and "None" in option.text):
        return option.text
    return f"{option.text} (default: {_shown(option)})"


def _shown(option: Option) -> str:
    """The default as it would be typed."""
    default = option.default
    if isinstance(default, bool):
        return option.spellings[0 if default else 1]
    if isinstance(default, tuple):
        return " ".join(map(str, default)) or "none"
    return "none" if default in (None, "", {}) else str(default)


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
    if option.default in (None, "", ()) or isinstance(option.default, bool) or option.required:
        return sentence
    return sentence if "default" in sentence.lower() else f"{sentence} (default: {_shown(option)})"
