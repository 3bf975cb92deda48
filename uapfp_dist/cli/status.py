"""How evaluations stand (running, stopped, finished), and the command that resumes each. Only reads.

uapfp status --storage s3://bucket/results
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.command_line import evaluation_command
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.state import evaluation_states, state_lines
from uapfp_dist.storage.store import Store, is_store


@dataclass(frozen=True)
class Status:
    """Print the state of every evaluation in a storage."""

    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE or ./results)."""
    json: bool = False
    """As JSON, for programs."""


def status(chosen: Status) -> None:
    """Read and print."""
    storage = resolve(RuntimeConfig(storage=chosen.storage, mlflow_uri="none")).storage
    if not is_store(storage):
        raise UserError(
            f"storage {storage}: expected the artifacts of an evaluation, found none; name another one",
            argument="storage",
        )
    found = evaluation_states(Store(storage), partial(print, file=sys.stderr))
    if chosen.json:
        print(json.dumps([asdict(state) for state in found], indent=1))
    elif not found:
        print(f"no evaluation has left its plan in {storage} (an enrolment is resumed by its own command)")
    for state in () if chosen.json else found:
        print("\n".join(state_lines(state, evaluation_command(state.flags, storage), time.time())))


COMMAND = Command(Status, status, __doc__, ("storage", "json"))
