"""Serve a model of a kit's zoo behind an API, to rehearse a verification before it matters.

    uapfp serve --kit kit                      # a stolen model, held out from the kit
    uapfp serve --kit kit --group homologous   # an independent model
    uapfp verify --kit kit --at http://127.0.0.1:5001 --out verdict       # in another terminal

MLflow's scoring server, on this machine alone; Ctrl-C ends it. The kit's models must still be in
the storage.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.models.custom import is_import_path
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.serving.held_out import chosen_row, net_of, weights_of
from uapfp_dist.serving.package import package, server_command
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.kit.io import load_kit


@dataclass(frozen=True)
class Serve:
    """Serve a held-out model of a kit."""

    kit: Path = Path("kit")
    """The kit that uapfp enroll made."""
    group: Literal["piracy", "homologous", "same_data", "other_victim", "sibling"] = "piracy"
    """Which group of models it is from."""
    index: int = 0
    """Which of the held-out models: those that neither trained nor calibrated the kit."""
    output: Literal["probabilities", "label"] = "probabilities"
    """What it responds with."""
    architecture: str | None = None
    """package.module:factory of a model of your own. Named again here, because its code will run."""
    port: int = 5001
    """Port of 127.0.0.1."""
    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE or ./results)."""
    folder: Path | None = None
    """New folder for the served model (default: a temporary one). A file `counts` in it counts images."""


def serve(chosen: Serve) -> None:
    """Package, then become the server."""
    kit = load_kit(chosen.kit)
    row = chosen_row(kit, chosen.group, chosen.index)
    if is_import_path(row.architecture) and row.architecture != chosen.architecture:
        raise UserError(
            f"architecture: the kit names code, {row.architecture!r:.80}, that would be imported and run; if it is "
            "yours, name it too",
            argument="architecture",
        )
    store = Store(resolve(RuntimeConfig(storage=chosen.storage, mlflow_uri="none")).storage)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="uapfp-served-")) / "it"
    if folder.exists():
        raise UserError(f"folder: expected a new folder, {folder} is there already; choose another", argument="folder")
    model = package(net_of(row, kit), weights_of(row, store), chosen.output, folder)
    how = f"one of the {GROUPS[row.group]}" + (f" by {row.attack} with {row.labels} labels" if row.attack else "")
    print(f"serving {row.model}: {row.architecture}, {how}; http://127.0.0.1:{chosen.port}, Ctrl-C ends")
    copy = f"{chosen.kit}-rehearsal"
    print(
        f"verifying it is a look that the kit's register counts; with a copy of the kit it is not: cp -r {chosen.kit} "
        f"{copy} && cp {chosen.kit}.register.jsonl {copy}.register.jsonl, then verify --kit {copy}",
        flush=True,
    )
    # MLflow starts further programs of this environment, which need not be activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.execve(sys.executable, server_command(model, chosen.port), {**os.environ, "PATH": path})


COMMAND = Command(
    Serve, serve, __doc__, ("kit", "group", "index", "output", "architecture", "port", "storage", "folder")
)
