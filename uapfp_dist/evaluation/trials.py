"""A cell of a grid: encoders retrained on stored responses, gap and AUC over resamples."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.encoder_trial import Setting, outcome, over_resamples, stored_trial, trial_id
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.fingerprints.blocks import CLEAN
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.resamples import Resample, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.method_configs import EncoderConfig
from uapfp_dist.tasks.specs import Checkpoint


@dataclass(frozen=True)
class TrialResult:
    """The result of one cell."""

    cell: str
    """Its name."""
    rows: tuple[Mapping[str, float], ...] = ()
    """A row per resample: its number as `draw`, and what `encoder_trial.outcome` measures."""
    means: Mapping[str, float] = field(default_factory=dict)
    """`encoder_trial.over_resamples`."""
    fitted: int = 0
    """Encoders trained for it; those in the store were read."""
    seconds: float = 0.0
    error: str = ""
    """Why there are no rows."""


class Trials:
    """Runs cells, one at a time, and keeps the responses of the last one.

    Args:
        store: of responses and of encoders' scores: no cell is computed twice.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: tuple[str, ResponseMatrix] | None = None

    def run(self, cell: GridCell) -> TrialResult:
        """The result of `cell`; what a user can fix becomes its error."""
        started = time.perf_counter()
        try:
            found = self._measured(cell)
        except UserError as error:
            found = TrialResult(cell.name, error=str(error))
        return replace(found, seconds=time.perf_counter() - started)

    def settled(self, cell: GridCell) -> bool:
        """Whether nothing is left to compute for `cell`."""
        try:
            matrix = self._matrix(cell)
            fits = self._fits(cell, matrix)
        except UserError:
            return True
        return all(self._store.has("trial", trial_id(matrix, *fit)) for fit in fits)

    def _measured(self, cell: GridCell) -> TrialResult:
        matrix = self._matrix(cell)
        positives = _positives(cell, matrix)
        rows, scored, fitted = [], [], 0
        for fit in self._fits(cell, matrix):
            fitted += not self._store.has("trial", trial_id(matrix, *fit))
            resample, scores = fit[0], stored_trial(self._store, matrix, *fit)
            rows.append({"draw": resample.index, **outcome(matrix, resample, scores, positives)})
            scored.append((resample, scores))
        return TrialResult(cell.name, tuple(rows), over_resamples(matrix, scored, positives), fitted)

    def _fits(self, cell: GridCell, matrix: ResponseMatrix) -> list[tuple[Resample, Setting, EncoderConfig, str]]:
        """One encoder per resample, as in the evaluation's own tables: the same setting gives the same numbers."""
        plan, verdict, architecture = cell.plan, cell.plan.config.verdict, cell.knobs.architecture
        may_train = plan.pool_of(matrix.members)
        seed = f"{plan.seed}/{architecture}" if architecture else str(plan.seed)
        sizes = (verdict.n_train, verdict.n_calibrate)
        return [
            (
                make_resample(matrix.members, i, *sizes, seed, architecture, may_train),
                cell.setting,
                plan.config.encoder,
                f"{plan.probe.id}/{i}",
            )
            for i in range(plan.config.studies.n_resamples)
        ]

    def _matrix(self, cell: GridCell) -> ResponseMatrix:
        """Responses of the cell's members to the clean points and to its perturbation alone.

        Raises:
            UserError: the victim's responses are missing.
        """
        plan, block = cell.plan, cell.setting.block
        specs = [plan.response(member) for member in cell.members]
        key = content_id({"answers": [spec.id for spec in specs], "block": block.wire})
        if self._held is None or self._held[0] != key:
            there = published_ids(self._store, specs)
            stored = [(m, spec) for m, spec in zip(cell.members, specs, strict=True) if spec.id in there]
            if not stored or stored[0][0].role != "victim":
                raise UserError("expected the victim's responses in the store, found none (see failures)")
            probe = read_probe(self._store.get(*plan.probe.artifact))
            responses = []
            for _, spec in stored:
                blocks = read_responses(self._store.get_mapped(*spec.artifact)).blocks
                responses.append(Responses({name: blocks[name] for name in (CLEAN, block)}))
            matrix = ResponseMatrix.from_responses([m for m, _ in stored], responses, probe, plan.probe)
            self._held = key, replace(matrix, gather={block: matrix.gather[block]})
        return self._held[1]


def _positives(cell: GridCell, matrix: ResponseMatrix) -> list[int] | None:
    """Rows of the checkpoints at the cell's recovery rate; None for the test piracy."""
    if cell.knobs.recovery is None:
        return None
    rows = [row for row, member in enumerate(matrix.members) if _recovery(member) == cell.knobs.recovery]
    if not rows:
        raise UserError(f"no stolen model reached a recovery of {cell.knobs.recovery:g}")
    return rows


def _recovery(member: Member) -> float | None:
    origin = member.spec.origin
    return origin.recovery if isinstance(origin, Checkpoint) else None
