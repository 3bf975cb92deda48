"""How the evaluations in a storage stand: running, stopped or finished. Reads what lies there, and nothing else.

python jobs/status.py --storage results
python jobs/status.py --storage s3://bucket/results --json
"""

import json
import sys
import time
from dataclasses import asdict, dataclass

import fsspec
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.command_line import evaluation_command
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.state import evaluation_states, state_lines
from uapfp_dist.storage.store import Store


@dataclass(frozen=True)
class Status:
    """Print the state of every evaluation in a storage."""

    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE, else ./results)."""
    json: bool = False
    """As JSON, for programs."""


def job() -> None:
    """Read and print."""
    chosen = tyro.cli(Status, args=sys.argv[1:], description=__doc__)
    storage = resolve(RuntimeConfig(storage=chosen.storage, mlflow_uri="none")).storage
    if not _is_storage(storage):
        raise UserError(
            f"storage {storage}: expected the artifacts of an evaluation, found none; check it", argument="storage"
        )
    found = evaluation_states(Store(storage))
    if chosen.json:
        print(json.dumps([asdict(state) for state in found], indent=1))
    elif not found:
        print(f"no evaluation has left its plan in {storage}")
    for state in () if chosen.json else found:
        print("\n".join(state_lines(state, evaluation_command(state.flags, storage), time.time())))


def _is_storage(storage: str) -> bool:
    """Status must not create a storage where there is none."""
    try:
        system, root = fsspec.core.url_to_fs(storage)
        return bool(system.exists(f"{root}/store.json"))
    except (ImportError, ValueError, OSError) as error:
        raise UserError(
            f"storage {storage}: expected a path or an fsspec URL ({error}); choose another", argument="storage"
        ) from error


if __name__ == "__main__":
    main(job)
