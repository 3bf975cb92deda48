"""Which fingerprint methods an evaluation compares: its preset's default, all, or those named."""

from collections.abc import Sequence
from dataclasses import replace

from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.methods.registry import METHODS

DEFAULT, ALL = "default", "all"

DEFAULTS: dict[str, tuple[str, ...]] = {
    "digits": ("uap", "weighted_errors", "uap_paper", "clean", "random", "lap_paper", "confidence", "ipguard")
}
"""Preset to its default; other presets compare all. Every claim of the paper about methods can be checked by these."""


def with_methods(config: Config, preset: str, names: Sequence[str] = (DEFAULT,)) -> Config:
    """`config`, comparing the methods of these names.

    Args:
        config: with `verdict.methods` of its own, or as in the preset.
        preset: from which it started.
        names: `default`, `all`, or names of methods.

    Raises:
        UserError: an unknown name, or two lists of methods.
    """
    default = tuple(names) == (DEFAULT,)
    if config.verdict.methods != PRESETS.get(preset, Config()).verdict.methods:
        if not default:
            raise UserError("methods: expected here or as verdict.methods, got both; leave one out", argument="methods")
        return config
    if default:
        methods = DEFAULTS.get(preset, config.verdict.methods)
    else:
        methods = tuple(METHODS) if tuple(names) == (ALL,) else tuple(names)
    for name in methods:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS, argument="methods")
    return replace(config, verdict=replace(config.verdict, methods=methods))


def with_all_methods(config: Config) -> Config:
    """`config`, comparing all methods: what it computes holds every row of any other choice."""
    return replace(config, verdict=replace(config.verdict, methods=tuple(METHODS)))


def methods_flags(config: Config, preset: str) -> list[str]:
    """Arguments by which full_eval.py compares the methods of `config`; none where they are the preset's default."""
    methods = config.verdict.methods
    if methods == DEFAULTS.get(preset, tuple(METHODS)):
        return []
    return ["--methods", *((ALL,) if methods == tuple(METHODS) else methods)]
