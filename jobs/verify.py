"""Is that model mine? Ask a suspect what a kit wants to know, and judge it.

    python jobs/verify.py --kit KIT --at http://127.0.0.1:5000                        # mlflow models serve
    python jobs/verify.py --kit KIT --at suspect.onnx --output logits --max-queries 500
    python jobs/verify.py --kit KIT --suspects suspects.json                          # several, in parallel on Ray
    python jobs/verify.py --kit KIT --replay OUT/*.transcript.jsonl                   # judge again, nothing is sent

Running the same command again resumes: no image is asked again that was answered (but for the ten that are
asked twice, to see whether answers change). Of several suspects, those that could be asked to the end are judged though
another one could not; the exit code is 2 then.
"""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.command import main
from uapfp_dist.errors import UserError, printable
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_io import load_kit
from uapfp_dist.verification.query_config import QueryConfig
from uapfp_dist.verification.replay import JudgedSuspect, made_elsewhere, replay
from uapfp_dist.verification.suspect_list import load_suspects
from uapfp_dist.verification.transcript_files import transcript_path
from uapfp_dist.verification.verdict_page import verdict_fields, verdict_text, write_verdict
from uapfp_dist.verification.verify import Interrupted, MapTasks, verify


@dataclass(frozen=True)
class Verify:
    """Judge suspects by their answers."""

    kit: Path
    """Folder of the kit (jobs/enroll.py makes it)."""
    suspect: Annotated[SuspectConfig, tyro.conf.arg(name="")] = field(default_factory=SuspectConfig)
    suspects: Path | None = None
    """JSON file with a list of suspects, objects with the options of one (at, name, output, ...), judged together."""
    replay: tuple[Path, ...] = ()
    """Transcripts of all suspects that were judged together: judge by them again, offline. Without --out nothing is
    written."""
    expect: str | None = None
    """The digest that was published for the kit; another one is refused."""
    alpha: float | None = None
    """Tolerated rate of false accusation over all suspects (default: the kit's)."""
    out: Path | None = None
    """Folder of transcripts and verdict (default: ./verification). It must be one that all workers see when Ray runs on
    several machines."""
    asking: Annotated[QueryConfig, tyro.conf.arg(name="")] = field(default_factory=QueryConfig)
    workers: int | None = None
    """0 asks several suspects from this process, a thread each; otherwise each is a task on Ray."""
    address: str | None = None
    """Ray cluster to use (default: $RAY_ADDRESS, else a local one that ends with the job)."""
    mlflow_uri: str | None = None
    """MLflow tracking URI (default: $MLFLOW_TRACKING_URI, else a sqlite file in --out)."""
    track: bool = True
    """Record the verdict as an MLflow run; a replay is never recorded."""


def job() -> None:
    """Parse and run."""
    chosen = tyro.cli(Verify, args=sys.argv[1:], description=__doc__)
    kit = load_kit(chosen.kit, chosen.expect)
    out = (chosen.out or Path("verification")).expanduser().resolve()
    print(f"kit {kit.digest}", flush=True)
    if chosen.replay:
        if (
            chosen.alpha is not None
            or chosen.suspects
            or chosen.suspect != SuspectConfig()
            or chosen.asking != QueryConfig()
        ):
            raise UserError(
                "replay: expected no --alpha, --suspects, or option of how a suspect is asked beside it: a transcript "
                "says who was asked and how, and at which alpha it was to be judged; leave them out"
            )
        cases = replay(kit, chosen.replay)
        if note := made_elsewhere(cases):
            print(f"note: {printable(note)}", flush=True)
    else:
        if bool(chosen.suspects) == bool(chosen.suspect.at):
            raise UserError("suspect: expected --at or --suspects, one of the two")
        if chosen.suspects and chosen.suspect != SuspectConfig():
            raise UserError(
                "suspects: expected the options of each suspect in the file, got some on the command line; write them "
                "there (nothing was sent)"
            )
        configs = load_suspects(chosen.suspects) if chosen.suspects else [chosen.suspect]
        spread = _on_ray(chosen.address) if len(configs) > 1 and chosen.workers != 0 else None
        cases = verify(kit, configs, out, chosen.asking, chosen.alpha, spread)
    written = bool(chosen.out) or not chosen.replay
    if written:
        write_verdict(out, kit, cases)
    if chosen.track and not chosen.replay:
        try:
            _record(chosen.mlflow_uri, out, kit, cases)
        except ConnectionError as error:
            raise UserError(f"mlflow: {error}; the verdict lies in {out}, the same command records it later") from error
    where = f"\n\nverdict.json, verdict.html{'' if chosen.replay else ' and transcripts'}: {out}" if written else ""
    print(f"\n{verdict_text(kit, cases)}{where}", flush=True)
    if missing := [f"{case.verdict.name} ({case.stopped})" for case in cases if case.stopped]:
        raise UserError(
            f"{len(missing)} of {len(cases)} suspects could not be asked to the end: {', '.join(missing)}; the others "
            "are judged. Verifying again asks the rest, and judges all again"
        )


def _on_ray(address: str | None) -> MapTasks:
    default_auth_mode(address)
    from uapfp_dist.cluster.map_tasks import map_tasks  # Ray takes seconds to import

    return lambda task, suspects: map_tasks(task, suspects, address, lambda why: Interrupted(why, lost=True))


def _record(uri: str | None, out: Path, kit: Kit, cases: Sequence[JudgedSuspect]) -> None:
    """The verdict as a run, its files beside it, a nested run for every suspect."""
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from uapfp_dist.tracking.mlflow_tracker import MlflowTracker  # seconds of import

    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    local = uri is None
    tracker = MlflowTracker(uri or f"sqlite:///{out}/mlflow.db", (out / "mlflow-artifacts").as_uri() if local else None)
    alpha = cases[0].verdict.alpha
    # The same evidence is the same run, however often it is recorded.
    evidence = content_id([case.sha256 for case in cases])
    tracker.start_run(evidence, {"kit": kit.digest, "alpha": alpha, "suspects": len(cases)}, {"preset": "verify"})
    for case in cases:
        tracker.log_suspect(case.verdict.name, *verdict_fields(case))
    with tempfile.TemporaryDirectory() as folder:
        for file in (*out.glob("verdict.*"), *(transcript_path(out, case.verdict.name) for case in cases)):
            shutil.copy(file, folder)
        tracker.log_files(Path(folder))
    tracker.end_run("FINISHED")


if __name__ == "__main__":
    main(job)
