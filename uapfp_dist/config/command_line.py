"""The command line that makes a configuration."""

import shlex
from dataclasses import fields, replace
from typing import Any

from uapfp_dist.config.methods import methods_flags
from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.schema import Config
from uapfp_dist.tasks.hashing import has_wire_names


def evaluation_flags(preset: str, seed: int, config: Config) -> str:
    """Arguments of `uapfp evaluate` that evaluate `config`, which started from `preset`."""
    base = PRESETS.get(preset, Config())
    rest = replace(config, verdict=replace(config.verdict, methods=base.verdict.methods))
    chosen = [*config_flags(rest, base), *methods_flags(config, preset)]
    return shlex.join(["--preset", preset, "--seed", str(seed), *chosen])


def evaluation_command(flags: str, storage: str) -> str:
    """The command that evaluates what `evaluation_flags` says, on `storage`."""
    return f"uapfp evaluate {flags} --storage {shlex.quote(storage)}"


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
