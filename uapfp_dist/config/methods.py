"""Which fingerprint methods an evaluation compares: its preset's default, all, or those named."""

from collections.abc import Sequence
from dataclasses import replace

from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.methods.registry import METHODS, PROBE_METHODS, REFERENCE_METHODS

DEFAULT, ALL = "default", "all"

DEFAULTS: dict[str, tuple[str, ...]] = {
    "digits": (
        "uap",
        "weighted_errors",
        "weighted_churn",
        "uap_paper",
        "uap_probe",
        "random_probe",
        "confidence",
        "ipguard_tuned",
    )
}
"""Preset to its default, at most eight; other presets compare all. What is said of lineage can be checked by these."""


def possible_methods(config: Config) -> tuple[str, ...]:
    """All methods, or those that need no siblings where there are none."""
    return tuple(METHODS if config.siblings.n_committee else PROBE_METHODS | REFERENCE_METHODS)


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
        wanted = DEFAULTS.get(preset, config.verdict.methods)
        methods = tuple(name for name in wanted if name in possible_methods(config))
    else:
        methods = possible_methods(config) if tuple(names) == (ALL,) else tuple(names)
    for name in methods:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS, argument="methods")
    return replace(config, verdict=replace(config.verdict, methods=methods))


def with_possible_methods(config: Config) -> Config:
    """`config` without the methods that need siblings where it has none."""
    methods = tuple(name for name in config.verdict.methods if name in possible_methods(config))
    return replace(config, verdict=replace(config.verdict, methods=methods))


def with_all_methods(config: Config) -> Config:
    """`config`, comparing all methods: what it computes holds every row of any other choice."""
    return replace(config, verdict=replace(config.verdict, methods=possible_methods(config)))


def likely_choices(config: Config, preset: str) -> tuple[Config, ...]:
    """`config` by the methods that it names, by its preset's default and by all: what an evaluation of it compared."""
    every, named = possible_methods(config), config.verdict.methods
    default = tuple(name for name in DEFAULTS.get(preset, named) if name in every)
    lists = dict.fromkeys((named, default, every))
    return tuple(replace(config, verdict=replace(config.verdict, methods=methods)) for methods in lists)


def methods_flags(config: Config, preset: str) -> list[str]:
    """Arguments by which `uapfp evaluate` compares the methods of `config`; none where they are the default."""
    methods, every = config.verdict.methods, possible_methods(config)
    if methods == tuple(name for name in DEFAULTS.get(preset, every) if name in every):
        return []
    return ["--methods", *((ALL,) if methods == every else methods)]
