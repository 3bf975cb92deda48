"""The command line of a configuration."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import tyro

from uapfp_dist.config.methods import methods_flags
from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.renamed import current_arguments
from uapfp_dist.config.schema import Config
from uapfp_dist.tasks.hashing import has_wire_names

T = TypeVar("T")


def parse_with_preset(
    command: type[T], arguments: Sequence[str], description: str | None, preset: Callable[[str], Config] = preset
) -> T:
    """The command line of a command with fields `preset` and `config`; the preset gives the configuration's defaults.

    Args:
        command: a dataclass.
        arguments: as typed; names of earlier versions are taken, with a note.
        description: for the help.
        preset: name to configuration.

    Raises:
        UserError: an unknown preset or response format.
    """
    arguments = current_arguments(arguments)
    name = preset_named(arguments)
    make: Any = command
    return tyro.cli(command, args=arguments, default=make(preset=name, config=preset(name)), description=description)


def preset_named(arguments: Sequence[str]) -> str:
    """The preset that a command line names, from which the other options start; `digits` where it names none."""
    found = "digits"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            found = arguments[i + 1]
        if argument.startswith("--preset="):
            found = argument.split("=", 1)[1]
    return found  # the last one counts, as of any option


def evaluation_flags(preset: str, seed: int, config: Config) -> str:
    """Arguments of full_eval.py that evaluate `config`, which started from `preset`."""
    base = PRESETS.get(preset, Config())
    rest = replace(config, verdict=replace(config.verdict, methods=base.verdict.methods))
    chosen = [*config_flags(rest, base), *methods_flags(config, preset)]
    return shlex.join(["--preset", preset, "--seed", str(seed), *chosen])


def evaluation_command(flags: str, storage: str) -> str:
    """The command that evaluates what `evaluation_flags` says, on `storage`."""
    return f"python jobs/full_eval.py {flags} --storage {shlex.quote(storage)}"


def config_flags(config: Any, base: Any, prefix: str = "") -> list[str]:
    """The command line that turns `base` into `config`."""
    found: list[str] = []
    for item in fields(base):
        ours, theirs = getattr(config, item.name), getattr(base, item.name)
        name = item.name.replace("_", "-")
        if has_wire_names(type(theirs)):
            found += config_flags(ours, theirs, f"{prefix}{name}.")
        elif isinstance(theirs, bool) and ours != theirs:
            found.append(f"--{prefix}{'' if ours else 'no-'}{name}")
        elif ours != theirs:
            found += [f"--{prefix}{name}", *map(str, ours if isinstance(ours, tuple) else (ours,))]
    return found
