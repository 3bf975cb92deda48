"""Run a verification, from suspects to a recorded verdict."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from uapfp_dist.config.runtime import EXPERIMENT
from uapfp_dist.errors import UserError
from uapfp_dist.launch.tracker import mlflow_tracker
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.progress import Progress
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tracking.tracker import RunParams
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import other_looks, stored_begin
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.records import Begin
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.register_agreement import check_results, check_transcripts, check_verdict_file
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.reports.verdict_metrics import verdict_metrics, verdict_tags, verification_tags
from uapfp_dist.verification.suspect_list import load_suspects
from uapfp_dist.verification.suspect_task import Interrupted
from uapfp_dist.verification.verify import MapTasks, verify


def choose_suspects(suspect: SuspectConfig, suspects: Path | None) -> list[SuspectConfig]:
    """The one suspect that was named, or those of a file.

    Raises:
        UserError: both, or none.
    """
    if suspects is None:
        if not suspect.at:
            raise UserError("at: expected the address of a suspect, or a file of suspects, got neither", argument="at")
        return [suspect]
    if suspect != SuspectConfig():
        raise UserError(
            "suspects: expected the options of each suspect in the file, got some beside it; write them there (nothing "
            "was sent)",
            argument="suspects",
        )
    return load_suspects(suspects)


def run_verification(
    kit: Kit,
    suspects: Sequence[SuspectConfig],
    out: Path,
    query: QueryConfig,
    alpha: float | None,
    workers: int | None,
    address: str | None,
    register: Register | None = None,
) -> list[JudgedSuspect]:
    """Query suspects, several of them as tasks on Ray, and judge them.

    Args:
        kit: what to query and how to judge.
        suspects: judged together.
        out: folder of the transcripts.
        query: at what pace, within what limits.
        alpha: tolerated rate of false accusation; None: the kit's.
        workers: 0 queries from this process.
        address: of the Ray cluster.
        register: of the kit.

    Raises:
        UserError: as `verify`.
    """
    on_ray = len(suspects) > 1 and workers != 0
    tasks = _ray_tasks(address) if on_ray else None
    shown = partial(Progress(workers=1).step, "images") if len(suspects) == 1 and sys.stderr.isatty() else None
    return verify(kit, suspects, out, query, alpha, tasks, register=register, on_progress=shown)


@dataclass(frozen=True)
class KeptAnswers:
    """Answers that lay in the folder before a verification."""

    path: Path
    """Of the transcript."""
    size: int
    """Bytes."""
    written: float
    """Seconds since the epoch, of the last one."""
    begin: Begin
    """The first record of the transcript."""

    @property
    def used(self) -> bool:
        """Whether the transcript of today goes on with them."""
        return stored_begin(self.path) == self.begin

    def note(self, name: str, out: str = "out") -> str:
        """That the verdict rests on them: whoever answers at that address today was not asked, or not everything.

        Args:
            name: of the suspect.
            out: what the reader knows the folder of the transcripts as.
        """
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.written))
        sent = "nothing was sent" if self.path.stat().st_size == self.size else "only what was missing was sent"
        return f"{name}: {sent}, answers of {when} are in {self.path.parent}; for another model name another {out}"


def kept_answers(suspects: Sequence[SuspectConfig], out: Path) -> dict[str, KeptAnswers]:
    """Name of each suspect that has answered before to its answers."""
    found = {}
    for config in suspects:
        path = transcript_path(out, config.display_name)
        if begin := stored_begin(path):
            stat = path.stat()
            found[config.display_name] = KeptAnswers(path, stat.st_size, stat.st_mtime, begin)
    return found


def kit_register(kit: Kit, folder: Path) -> Register | None:
    """The register beside the folder of a kit; None for a kit without churn points.

    Raises:
        UserError: it is gone, changed, or another kit's.
    """
    return Register.open(register_path(folder), kit.digest) if kit.churn is not None else None


def replay_beside(kit: Kit, folder: Path, transcripts: Sequence[Path]) -> list[JudgedSuspect]:
    """Judge again by transcripts and the register beside a kit; by the transcripts alone where there is none.

    Args:
        kit: that they were made with.
        folder: of the kit.
        transcripts: of all suspects that were judged together.

    Raises:
        UserError: as `replay`; a register that was changed, or another kit's; one that does not hold these looks, or
            holds other results of them, or lacks the head that a verdict beside them names.
    """
    if kit.churn is None or not register_path(folder).exists():
        return replay(kit, transcripts)
    register = Register.open(register_path(folder), kit.digest)
    for place in dict.fromkeys(path.parent for path in transcripts):
        check_verdict_file(kit, register, place)
    check_transcripts(kit, register, transcripts)
    begins = [begin for path in transcripts if (begin := stored_begin(path))]
    cases = replay(kit, transcripts, other_looks(kit, register, begins))
    check_results(kit, register, cases)
    return cases


def _ray_tasks(address: str | None) -> MapTasks:
    default_auth_mode(address)
    from uapfp_dist.cluster.map_tasks import map_tasks  # Ray takes seconds to import

    return lambda task, suspects: map_tasks(task, suspects, address, lambda why: Interrupted(why, lost=True))


def record_verdict(
    uri: str | None, out: Path, kit: Kit, cases: Sequence[JudgedSuspect], experiment: str = EXPERIMENT
) -> None:
    """The verdict as a run of MLflow, its files beside it, a nested run for every suspect.

    Args:
        uri: of MLflow; None: $MLFLOW_TRACKING_URI, else a sqlite file in `out`.
        out: folder of verdict and transcripts.
        kit: that judged.
        cases: the suspects.
        experiment: name of the MLflow experiment.

    Raises:
        UserError: MLflow is away, or refuses.
    """
    variable = "MLFLOW_TRACKING_URI" if not uri and os.environ.get("MLFLOW_TRACKING_URI") else None
    uri = os.environ[variable] if variable else uri
    artifacts = (out / "mlflow-artifacts").as_uri() if uri is None else None
    tracker = mlflow_tracker(uri or f"sqlite:///{out}/mlflow.db", artifacts, experiment, variable)
    # The same evidence is the same run, however often it is recorded.
    evidence = content_id([case.sha256 for case in cases])
    params: RunParams = {"kit": kit.digest, "alpha": cases[0].verdict.alpha, "suspects": len(cases)}
    try:
        tracker.start_run(evidence, params, verification_tags(kit, cases))
        for case in cases:
            tracker.log_suspect(case.verdict.name, verdict_tags(case), verdict_metrics(case))
        with tempfile.TemporaryDirectory() as folder:
            for file in (*out.glob("verdict.*"), *(transcript_path(out, case.verdict.name) for case in cases)):
                shutil.copy(file, folder)
            tracker.log_files(Path(folder))
        tracker.end_run("FINISHED")
    except ConnectionError as error:
        raise UserError(
            f"mlflow: {error}; the verdict is in {out}, the same command records it later", argument="mlflow_uri"
        ) from error
