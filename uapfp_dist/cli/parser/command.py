"""A subcommand as a value."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from uapfp_dist.cli.parser.options import Option, options_of
from uapfp_dist.config.renamed import OPTIONS
from uapfp_dist.config.schema import Config

Chosen = TypeVar("Chosen")


@dataclass(frozen=True)
class Command(Generic[Chosen]):
    """What a subcommand takes, what it does, and what its short help shows."""

    options: type[Chosen]
    """A dataclass; its fields are the options, the docstrings of the fields their texts."""
    run: Callable[[Chosen], object]
    """Does it, and prints."""
    about: str | None
    """The help above the options: what it does in a sentence, examples, what one must know."""
    usual: tuple[str, ...]
    """Options that the short help shows, as they are typed, without the dashes."""
    preset: Callable[[str], Config] | None = None
    """Name of a preset to the configuration that the options start from; None: the command has no configuration."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Options that once had other names, old to new."""
    unused: tuple[str, ...] = ()
    """Fields, or whole sections, that the command sets itself or never reads: as options they would change nothing, so
    they are refused."""

    def options_from(self, default: object, unused: bool = False) -> Iterator[Option]:
        """The options that it takes, starting from `default`; or those that would change nothing."""
        for option in options_of(self.options, default):
            name = option.name.replace("-", "_")
            if unused == any(name == one or name.startswith(f"{one}.") for one in self.unused):
                yield option

    def default(self, arguments: list[str]) -> Any:
        """Where the options start from: the preset that a command line names, or the defaults of the class (None)."""
        if self.preset is None:
            return None
        name = preset_named(arguments)
        make: Any = self.options
        return make(preset=name, config=self.preset(name))


def preset_named(arguments: list[str]) -> str:
    """The preset that a command line names, from which the other options start; `digits` where it names none."""
    found = "digits"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            found = arguments[i + 1]
        if argument.startswith("--preset="):
            found = argument.split("=", 1)[1]
    return found  # the last one counts, as of any option


CONFIG_OPTIONS = OPTIONS
"""Renamed options of every command with a configuration."""
