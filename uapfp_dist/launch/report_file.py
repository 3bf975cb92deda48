"""The report as a JSON file."""

import json
import os
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.serialization import to_json
from uapfp_dist.whole_file import whole_file


def check_report(path: Path | None) -> None:
    """Raise UserError where `path` cannot be written."""
    if path is None:
        return
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise UserError(
            f"report: expected a file, {path} is a folder; name a file in it",
            argument="report",
        )
    if not path.parent.is_dir():
        raise UserError(
            f"report: expected an existing folder for {path}, found none; make it or name another file",
            argument="report",
        )
    if not os.access(path.parent, os.W_OK):
        raise UserError(
            f"report: expected a folder that can be written for {path}; name another file", argument="report"
        )


def write_report(path: Path | None, report: object) -> None:
    """Write a dataclass, or what JSON can hold, as JSON; nothing where there is no path."""
    if path is not None:
        with whole_file(path) as new:  # two jobs may write the same report
            new.write_text(json.dumps(to_json(report), indent=1))
