"""Names of options and values that earlier versions took: they still work, with a warning."""

import sys
from collections.abc import Mapping, Sequence

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat

OPTIONS = {
    "verdict.pool": "verdict.train_pool",
    "verdict.n_draws": "verdict.n_resamples",
    "studies.n_draws": "studies.n_resamples",
}
"""Option to its new name."""
VALUES = {("parts", "answers"): "responses"}
"""(Option, value) to the value's new name."""
FORMAT_OPTIONS = ("verdict.formats", "extraction.soft_labels", "formats", "labels")
"""Options whose values are response formats, which had other names."""


def current_arguments(arguments: Sequence[str], options: Mapping[str, str] = OPTIONS) -> list[str]:
    """A command line under the names of today; old names are reported in one line on stderr.

    Args:
        arguments: of a command whose options once had other names.
        options: those that the command takes: the old name to the new one.

    Raises:
        UserError: an option under both names.
    """
    option, found, typed = "", [], {False: set[str](), True: set[str]()}
    notes: dict[str, None] = {}
    for argument in arguments:
        if not argument.startswith("--"):
            found.append(_value(option, argument, notes))
            continue
        name, equals, value = argument.partition("=")
        option = name[2:].replace("-", "_")
        typed[option in options].add(options.get(option, option))
        if option in options:
            option = options[option]
            new = f"--{option.replace('_', '-')}"
            notes[f"option {name} is now {new}"] = None
            name = new
        found.append(f"{name}={_value(option, value, notes)}" if equals else name)
    for name in sorted(typed[True] & typed[False]):
        raise UserError(f"{name}: expected once, got it under an earlier name, too; leave one out", argument=name)
    if notes:
        print(f"note: {'; '.join(notes)}", file=sys.stderr)
    return found


def _value(option: str, value: str, notes: dict[str, None]) -> str:
    """The value of an option; that of `grid` holds an option itself."""
    if option == "grid":
        axis, _, values = value.partition("=")
        axis = axis.replace(" ", "")  # as in `parse_grid`
        name = axis.replace("-", "_")
        if name in OPTIONS:
            notes[f"grid {axis} is now {OPTIONS[name]}"] = None
            axis = name = OPTIONS[name]
        if name in FORMAT_OPTIONS:
            parts = [[_format(part.strip(), notes) for part in cell.split("+")] for cell in values.split(",")]
            values = ",".join("+".join(cell) for cell in parts)
        return f"{axis}={values}" if "=" in value else axis
    if (option, value) in VALUES:
        new = VALUES[option, value]
        notes[f"{option} {value} is now {new}"] = None
        return new
    return _format(value, notes) if option in FORMAT_OPTIONS else value


def _format(name: str, notes: dict[str, None]) -> str:
    if not ResponseFormat.is_alias(name):
        return name
    new = str(ResponseFormat.parse(name))
    notes[f"format {name} is now {new}"] = None
    return new
