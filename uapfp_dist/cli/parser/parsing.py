"""From a command line to the options of a subcommand; what is wrong with it in one line."""

import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any, NoReturn, TypeVar

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.cli.parser.help import full_help, short_help
from uapfp_dist.cli.parser.options import Option
from uapfp_dist.config.renamed import current_arguments
from uapfp_dist.errors import UserError, nearest
from uapfp_dist.messages import one_line

Chosen = TypeVar("Chosen")

FRAME = "╭╮╰╯│─ "
"""Of what tyro has to say."""


def parse(command: Command[Chosen], arguments: Sequence[str], program: str = "uapfp") -> Chosen:
    """The options that a command line gives.

    Args:
        command: whose options they are.
        arguments: as typed; names of earlier versions are taken, with a note.
        program: as it was called, for the help.

    Raises:
        UserError: an unknown option, a value of another kind, an option that is missing.
        SystemExit: after a help.
    """
    arguments = current_arguments(arguments, command.renamed)
    if {"-h", "--help"} & set(arguments):
        print(short_help(command, program))
        raise SystemExit(0)
    default = command.default(list(arguments))
    if "--help-all" in arguments:
        print(full_help(command, program, default))
        raise SystemExit(0)
    options = list(command.options_from(default))
    given = [argument.partition("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")]
    known = [spelling for option in options for spelling in option.spellings]
    unused = {spelling for option in command.options_from(default, unused=True) for spelling in option.spellings}
    for name in given:
        if name in unused:
            raise UserError(f"{name} would change nothing in {program}; {program} --help-all lists what does")
        if name not in known:
            raise UserError(f"unknown option {name}{nearest(name, known)}; {program} --help-all lists them all")
    for option in options:
        if option.required and f"--{option.name}" not in given:
            text = option.text.rstrip(".")
            raise UserError(f"expected --{option.name} {option.metavar} ({text}), got none; see {program} --help")
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return _tyro(command, arguments, default, program)
    except SystemExit:
        _refuse(said.getvalue(), arguments, options, program)


def _tyro(command: Command[Chosen], arguments: Sequence[str], default: Any, program: str) -> Chosen:
    given: Any = {} if default is None else {"default": default}
    return tyro.cli(command.options, args=list(arguments), prog=program, description=command.about, **given)


def _refuse(box: str, arguments: Sequence[str], options: Sequence[Option], program: str) -> NoReturn:
    """What tyro has to say, in one line: the option, what it takes, what it got.

    Raises:
        UserError: always.
    """
    title, *lines = [line.strip(FRAME) for line in box.splitlines()] or [""]
    first = one_line(" ".join(lines[: lines.index("")] if "" in lines else lines))
    for option in options:
        named = re.search(rf"(?<![\w.-])--{re.escape(option.name)}(?![\w.-])", first)
        if named is None or "nrecognized" in title:
            continue
        values = _values(arguments, option.name)
        expected = f"one of {', '.join(option.choices)}" if option.choices else option.metavar or "no value"
        close = nearest(values[-1], option.choices) if values else ""
        got = " ".join(values) or "nothing"
        raise UserError(f"--{option.name}: expected {expected}, got {got}{close}; see {program} --help")
    if "nrecognized" in title:
        stray = first.partition(":")[2].strip()
        raise UserError(f"expected options, --name value, got {stray}; see {program} --help")
    raise UserError(f"{first or title}; see {program} --help")


def _values(arguments: Sequence[str], name: str) -> list[str]:
    """What was typed after an option, the last time."""
    found: list[str] = []
    inside = False
    for argument in arguments:
        if argument.startswith("--"):
            typed, equals, value = argument[2:].partition("=")
            inside = typed.replace("_", "-") == name
            found = ([value] if equals else []) if inside else found
        elif inside:
            found = [*found, argument]
    return found


def note(text: str) -> None:
    """A line beside the output."""
    print(text, file=sys.stderr, flush=True)
