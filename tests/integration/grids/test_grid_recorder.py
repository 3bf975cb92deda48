"""A grid is summed up and told the tracker, whatever died, was given up or was away."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from system import tiny_plan
from tiny_grids import NOTHING_MADE, Listener, SuspectAnswers, cells_of, learning_from_fewer, small

from uapfp_dist.central.grid_recorder import GridRecorder
from uapfp_dist.config.methods import ALL, possible_methods, with_methods
from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.trials import Trials
from uapfp_dist.launch import ablation as ablations
from uapfp_dist.reporting.grid_report import grid_table, grid_text
from uapfp_dist.reporting.grid_schema import CellFailure, FailedSpec, GridReport, TrialCounts
from uapfp_dist.reporting.report_schema import SpecFailure
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Member
from uapfp_dist.tracking.publication import KIND, Publication


def test_a_grid_is_summed_up(answered: SuspectAnswers, tmp_path: Path) -> None:
    """A nested run per cell, also of cells nobody told of and of cells that died; table, figures and JSON."""
    store, tracker = answered.copy(tmp_path / "s"), Listener()
    cells = cells_of("n_points=3,10", "top_k=1,10", config=learning_from_fewer())
    recorder = GridRecorder(cells, store, tracker)
    assert recorder.begin({}, {}) == ""
    first = Trials(store).run(cells[0])
    recorder.record(first)
    assert recorder.progress() == (1, 4)
    assert [name for name, *_ in tracker.nested] == [cells[0].name]
    report = recorder.finish({cells[1].name: "WorkerCrashed"}, NOTHING_MADE)
    assert recorder.publish() == ""
    assert [name for name, *_ in tracker.nested[1:]] == [cell.name for cell in cells]
    assert tracker.nested[0] == tracker.nested[1]
    assert tracker.nested[0][1]["n_points"] == "3"
    assert tracker.nested[0][2]["gap"] == pytest.approx(pd.DataFrame(list(first.rows))["gap"].mean(), abs=1e-6)
    assert report.failures == (CellFailure(cell=cells[1].name, error="WorkerCrashed"),)
    assert report.trials == TrialCounts(run=3, reused=0)
    assert report.encoders_trained == 6
    assert [(row["n_points"], row["top_k"]) for row in report.table] == [(3, 1), (10, 1), (10, 10)]
    assert len(report.resamples) == 6
    table = grid_table(report)
    assert table["gap"].between(table["gap_low"] - 1e-9, table["gap_high"] + 1e-9).all()
    assert f"{table['gap'][0]:.2f} [" in grid_text(report)
    plain = to_json(report)
    assert to_json(from_json(GridReport, json.loads(json.dumps(plain, allow_nan=False)))) == plain
    assert {"ablation.json", "tables/ablation.csv", "figures/ablation_map.png"} <= set(tracker.files)


def test_a_tracker_that_is_away_costs_nothing_and_is_brought_up_to_date(
    answered: SuspectAnswers, tmp_path: Path
) -> None:
    class Away(Listener):
        away = True

        def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
            if self.away:
                raise ConnectionError("mlflow: away")
            super().log_suspect(name, tags, metrics)

    store, tracker = answered.copy(tmp_path / "s"), Away()
    cells = cells_of("n_points=3,10")
    recorder = GridRecorder(cells, store, tracker)
    recorder.begin({}, {})
    for cell in cells:
        recorder.record(Trials(store).run(cell))
    assert recorder.progress() == (2, 2)
    recorder.finish({}, NOTHING_MADE)
    tracker.away = False
    assert recorder.publish() == ""
    assert [name for name, *_ in tracker.nested] == [cell.name for cell in cells]
    assert all("seconds" in metrics for *_, metrics in tracker.nested)


def without(store: Store, cell: GridCell) -> Member:
    """A stolen model of another victim that the store lacks, with its responses."""
    gone = next(m for m in cell.members if m.role == "other_victim_piracy")
    store.discard("model", gone.spec.id)
    store.discard("answers", cell.plan.response(gone).id)
    return gone


def reported(store: Store, plan: Plan, error: str, gone: Member, permanent: bool | None = None) -> None:
    """A report of an evaluation that came to its end without a model, which failed."""
    specs = (gone.spec, plan.response(gone))
    failures = [
        SpecFailure(
            id=spec.id,
            kind=spec.kind,
            description="",
            error=f"needs model {gone.spec.id}, which failed" if skipped else error,
            details="",
            skipped=bool(skipped),
            permanent=permanent,
        )
        for skipped, spec in enumerate(specs)
    ]
    store.put("report", plan.id, {}, {"failures": [to_json(failure) for failure in failures]})


def test_what_an_evaluation_gave_up_is_not_tried_again(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener]
) -> None:
    """A stolen model below its gate: the evaluation was reported without it, and so is the grid."""
    store = answered.copy(tmp_path / "s")
    (cell,) = cells_of("n_points=3")
    gone = without(store, cell)
    reported(store, cell.plan, "GateError: below", gone)
    around = RuntimeConfig(storage=str(tmp_path / "s"), workers=0)
    report = ablations.run_grid(small(), "tiny", 0, around, ["n_points=3"])
    assert report.trials == TrialCounts(run=1, reused=0)
    assert report.failed_specs == (FailedSpec(id=gone.spec.id, kind="model", error="GateError: below"),)
    assert grid_text(report).endswith(f"measured without model {gone.spec.id}: GateError: below")
    assert not store.has("model", gone.spec.id)
    store.discard("report", cell.plan.id)
    ablations.run_grid(small(), "tiny", 0, around, ["n_points=3"])
    assert store.has("model", gone.spec.id), "without a report it is one that has not been made yet"


@pytest.mark.parametrize(("error", "permanent"), [("OSError: no answer", False), ("worker died: unknown", None)])
def test_what_another_try_could_make_is_tried_again(
    error: str, permanent: bool | None, answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener]
) -> None:
    store = answered.copy(tmp_path / "s")
    (cell,) = cells_of("n_points=3")
    gone = without(store, cell)
    reported(store, cell.plan, error, gone, permanent)
    report = ablations.run_grid(
        small(), "tiny", 0, RuntimeConfig(storage=str(tmp_path / "s"), workers=0), ["n_points=3"]
    )
    assert store.has("model", gone.spec.id)
    assert report.failed_specs == ()


def test_what_a_given_up_model_would_answer_is_given_up_in_every_cell(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener]
) -> None:
    """Also where another probe would ask it, whose evaluation has no report, and by an evaluation of few methods."""
    store = answered.copy(tmp_path / "s")
    (cell,) = cells_of("n_points=3")
    gone = without(store, cell)
    config = cell.plan.config
    config = replace(config, verdict=replace(config.verdict, methods=("uap", "confidence")))
    reported(store, replace(cell.plan, config=with_methods(config, "tiny")), "GateError: below", gone)
    around = RuntimeConfig(storage=str(tmp_path / "s"), workers=0)
    report = ablations.run_grid(config, "tiny", 0, around, ["uap.n_uaps=2,3"])
    assert [failed.id for failed in report.failed_specs] == [gone.spec.id]
    assert report.trials == TrialCounts(run=2, reused=0)


def test_a_grid_names_the_evaluation_that_is_there(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener]
) -> None:
    """By whatever methods it compared; none where there is none."""
    store, around = answered.copy(tmp_path / "s"), RuntimeConfig(storage=str(tmp_path / "s"), workers=0)
    base = replace(small(), verdict=replace(small().verdict, methods=PRESETS["digits"].verdict.methods))

    def named() -> str | None:
        report = ablations.run_grid(base, "digits", 0, around, ["n_points=3"])
        return Publication.from_artifact(store.get(KIND, report.sweep)).tags.get("evaluation_of")

    assert named() is None
    plan = tiny_plan(with_methods(base, "digits"))
    assert len(plan.config.verdict.methods) < len(possible_methods(base))
    store.put("plan", plan.id, {}, {})
    assert named() == plan.id
    every = tiny_plan(with_methods(base, "digits", (ALL,)))
    store.put("report", every.id, {}, {"failures": []})
    assert named() == every.id
