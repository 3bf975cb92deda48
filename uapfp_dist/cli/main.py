"""`uapfp`: finds the subcommand, and runs it."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import uapfp_dist
from uapfp_dist import command as process
from uapfp_dist.cli.subcommands import SUBCOMMANDS, overview
from uapfp_dist.errors import UserError, nearest


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script; `arguments` stand in for those of this process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help", "--help-all"):
        _print_overview(2 if not words else 0)
    if words[0] in ("-V", "--version"):
        process.main(lambda: print(f"uapfp {uapfp_dist.__version__}"), "uapfp")
    name, *rest = words
    if name not in SUBCOMMANDS:
        process.main(lambda: _unknown(name), "uapfp")
    process.main(lambda: _run(name, rest, f"uapfp {name}"), f"uapfp {name}", rest)


def script(name: str) -> NoReturn:
    """A file in jobs/, which is a subcommand for `ray job submit`."""
    arguments = sys.argv[1:]
    process.main(lambda: _run(name, arguments, Path(sys.argv[0]).name), arguments=arguments)


def _run(name: str, arguments: list[str], program: str) -> None:
    # A subcommand takes seconds to import; the overview does not wait for it.
    from uapfp_dist.cli.parser.parsing import parse

    command = import_module(SUBCOMMANDS[name].module).COMMAND
    command.run(parse(command, arguments, program))


def _print_overview(code: int) -> NoReturn:
    def show() -> None:
        print(overview())
        if code:
            sys.stdout.flush()
            raise SystemExit(code)

    process.main(show, "uapfp")


def _unknown(name: str) -> NoReturn:
    what = "option" if name.startswith("-") else "command"
    raise UserError(f"unknown {what} {name}{nearest(name, SUBCOMMANDS)}; uapfp --help lists the commands")
