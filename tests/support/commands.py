"""Subcommands of `uapfp` in this process, for tests."""

from importlib import import_module
from typing import Any

import pytest

from uapfp_dist.cli.main import main
from uapfp_dist.cli.parser.parsing import parse
from uapfp_dist.cli.subcommands import SUBCOMMANDS


def parsed(name: str, *arguments: str) -> Any:
    """The options that a command line gives.

    Raises:
        UserError: there is something wrong with it.
    """
    return parse(import_module(SUBCOMMANDS[name].module).COMMAND, list(arguments))


def run(name: str, *arguments: str) -> None:
    """Do it; what it raises comes through."""
    command = import_module(SUBCOMMANDS[name].module).COMMAND
    command.run(parse(command, list(arguments)))


def exit_code(*arguments: str) -> object:
    """How `uapfp` ends."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code
