"""Grids: what they may contain, that stored answers are enough, and that nothing is computed twice."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawing import drawn, texts
from mlflow import MlflowClient
from system import ROOT, ProcessTree, context_on, copy_store, environment, flags, job, tiny, tiny_plan, wait_until

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.central.grid_recorder import GridRecorder
from uapfp_dist.cli.ablate import print_grid
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.data import Dataset, load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.encoder_trial import Setting, outcome, trial
from uapfp_dist.evaluation.grid_axes import figure_6, parse_grid
from uapfp_dist.evaluation.grid_cells import GridCell, make_cells, shared_specs
from uapfp_dist.evaluation.trials import Trials
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.launch import ablation as ablations
from uapfp_dist.reporting.figures.grids import grid_maps
from uapfp_dist.reporting.grid_report import grid_figures, grid_table, grid_text
from uapfp_dist.reporting.grid_schema import CellFailure, GridReport, Preparation, TrialCounts
from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.tracker import NullTracker

NOTHING_MADE = Preparation(models=ModelCounts(trained=0, reused=0, failed=0))

JOB = ROOT / "jobs" / "ablations.py"


def images(data: DataConfig) -> Dataset:
    """The digits, whatever is asked for."""
    return load("digits", None)


def small() -> Config:
    """The tiny evaluation, two draws per cell."""
    base = tiny()
    return replace(base, studies=replace(base.studies, n_resamples=2))


def learning_from_fewer() -> Config:
    """The same, an encoder from one model of each type: two of each are left to be tested, enough for an interval."""
    return replace(small(), verdict=replace(small().verdict, n_train=1))


def cells_of(*grid: str, config: Config | None = None) -> list[GridCell]:
    """Cells over the tiny evaluation."""
    return make_cells(parse_grid(grid), config or small(), 0, images)


@dataclass(frozen=True)
class SuspectAnswers:
    """A tiny zoo that has answered; copy its folder before changing it."""

    folder: Path

    def copy(self, to: Path, *kinds: str) -> Store:
        """A store with its artifacts, or with those of `kinds` alone."""
        return copy_store(self.folder, to, *kinds)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> SuspectAnswers:
    """Models, probe and answers; nothing judged."""
    folder = tmp_path_factory.mktemp("answered") / "store"
    store = Store(str(folder))
    for outcome_ in run_tasks(
        tiny_plan().specs, SerialPool(partial(perform_task, context_on(store))), lambda spec: False
    ):
        assert not hasattr(outcome_, "error"), outcome_
    return SuspectAnswers(folder)


class Listener(NullTracker):
    """A tracker that keeps what it receives."""

    def __init__(self) -> None:
        self.nested: list[tuple[str, Mapping[str, str], Mapping[str, float]]] = []
        self.files: list[str] = []
        self.status = ""

    def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """A nested run."""
        self.nested.append((name, tags, metrics))

    def log_files(self, folder: Path) -> None:
        """Names alone."""
        self.files += [str(file.relative_to(folder)) for file in folder.rglob("*.*")]

    def end_run(self, status: str) -> str:
        """Closed."""
        self.status = status
        return ""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    """No MLflow: the trackers that were made."""
    made: list[Listener] = []

    def listener(places: object) -> Listener:
        made.append(Listener())
        return made[-1]

    monkeypatch.setattr(ablations, "open_tracker", listener)
    return made


@pytest.fixture
def ray_home() -> Iterator[str]:
    """A folder of a short path: Ray's sockets lie below it, and a socket's name has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        yield home


# --- what a grid may contain


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (["n_point=1"], ["unknown name in a grid 'n_point'", "n_points", "top_k", "encoder.tau"]),
        (["encoder.tua=1"], ["unknown name in a grid 'encoder.tua'", "encoder.tau"]),
        (["encoder=1"], ["unknown name in a grid 'encoder'"]),
        (["studies.subspace=1"], ["unknown name in a grid 'studies.subspace'", "studies.subspace.xi"]),
        (["zoo.width.x=1"], ["unknown name in a grid 'zoo.width.x'", "zoo.width"]),
        (["n_points"], ["name=value,value"]),
        (["n_points="], ["name=value,value"]),
        (["n_points=ten"], ["n_points", "expected int or none", "'ten'"]),
        (["verdict.formats=label+top0"], ["verdict.formats", "top<k>", "several joined by +", "'label+top0'"]),
        (["zoo.n_other_piracy=3+x"], ["zoo.n_other_piracy", "expected int, several joined by +", "'3+x'"]),
        (["encoder.loss=hinge"], ["encoder.loss", "expected one of supcon, cross_entropy, autoencoder", "'hinge'"]),
        (["zoo.augment=1,2"], ["zoo.augment", "bool", "'1'"]),
        (["loss=hinge"], ["loss", "supcon", "'hinge'"]),
        (["n_points=3", "n-points=4"], ["n_points", "one list"]),
        (["n_points=11"], ["n_points", "from 2 to", "10", "got 11"]),
        (["n_views=5"], ["n_views", "from 2 to", "got 5"]),
        (["top_k=11"], ["top_k", "from 0 to", "10", "got 11"]),
        (["xi=0.9"], ["xi", "0.5, 0.7", "uap.xi_fractions"]),
        (["architecture=A"], ["architecture", "B, C, D, E", "got A"]),
        (["recovery=0.8"], ["recovery", "studies.n_trajectories"]),
        (["encoder.tau=0.2,0"], ["tau", "from 0.02"]),
        (["zoo.architectures=B+Z"], ["unknown architecture 'Z'"]),
        ([], ["at least one axis"]),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_one_line(grid: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        cells_of(*grid)
    message = str(refusal.value)
    assert "\n" not in message
    assert not re.search(r"typing|Literal|Annotated|NoneType|Optional|<class|\[", message), "a type as Python writes it"
    assert refusal.value.argument == "grid"
    for word in words:
        assert word in message


def test_cells_are_all_combinations_the_last_axis_turning_fastest() -> None:
    cells = cells_of("n_points=3,10", "top_k=0,1,10", "encoder.tau=0.1,0.5")
    assert len({cell.id for cell in cells}) == len(cells) == 12
    assert [cell.name for cell in cells][:3] == [
        "n_points=3 top_k=0 encoder.tau=0.1", "n_points=3 top_k=0 encoder.tau=0.5", "n_points=3 top_k=1 encoder.tau=0.1"
    ]  # fmt: skip
    assert [c.setting.format for c in cells[:6:2]] == [LABEL, ResponseFormat(1), PROBABILITIES], (
        "all of the confidences are probabilities"
    )
    assert {cell.plan.config.encoder.tau for cell in cells} == {0.1, 0.5}


def test_values_take_the_type_of_their_field() -> None:
    (axis,) = parse_grid(["zoo.architectures=B+C,D"])
    assert axis.values == (("B", "C"), ("D",))
    assert parse_grid(["zoo.overlap=none,0,0.5"])[0].values == (None, 0.0, 0.5)
    assert parse_grid(["fingerprint.n-points=3,3,4"])[0].values == (3, 4), "a value given twice is one value"
    assert parse_grid(["encoder.loss=autoencoder"])[0].values == ("autoencoder",)


def test_the_loss_of_the_configuration_is_not_lost() -> None:
    (cell,) = cells_of("encoder.loss=autoencoder")
    assert cell.setting.loss == "autoencoder"


def test_figure_6_is_the_default_and_has_the_evaluation_itself_in_it() -> None:
    points, confidences = figure_6(preset("digits"), 10)
    assert points.values == (10, 20, 30, 40, 50, 60)
    assert confidences.values == (0, 1, 2, 3, 5, 10)


@pytest.mark.parametrize(
    ("axis", "new_models", "new_probes"),
    [
        ("n_points=3,10", False, False),
        ("top_k=0,1", False, False),
        ("loss=autoencoder", False, False),
        ("architecture=B,C", False, False),
        ("encoder.tau=0.1,0.5", False, False),
        ("verdict.n_train=1", False, False),
        ("uap.n_uaps=3", False, True),
        ("fingerprint.n_points=5", False, True),
        ("zoo.overlap=0.5", True, False),
        ("extraction.budget=0.5", True, False),
    ],
)
def test_only_what_an_axis_changes_is_made_anew(axis: str, new_models: bool, new_probes: bool) -> None:
    stored = {spec.id for spec in tiny_plan().specs}
    new = [spec for spec in shared_specs(cells_of(axis)) if spec.id not in stored]
    assert any(isinstance(spec, ModelSpec) for spec in new) == new_models
    assert any(spec.kind == "probe" for spec in new) == new_probes


def test_cells_share_what_they_need() -> None:
    """Two overlaps by three temperatures: two zoos, not six."""
    many = shared_specs(cells_of("zoo.overlap=0,0.5", "encoder.tau=0.1,0.2,0.5"))
    few = shared_specs(cells_of("zoo.overlap=0,0.5"))
    assert [spec.id for spec in many] == [spec.id for spec in few]
    assert len({spec.id for spec in many}) == len(many)


# --- a trial


def test_a_cell_gives_what_the_evaluation_gives(answered: SuspectAnswers, tmp_path: Path) -> None:
    """Against a plain loop over all answers of all models, with every other model beside those that are looked at."""
    store, config = answered.copy(tmp_path / "s"), learning_from_fewer()
    plan = tiny_plan(config)
    matrix, *_ = Evaluator(plan, store, NullTracker()).matrix()
    (cell,) = cells_of("n_points=6", config=config)
    result = Trials(store).run(cell)
    assert result.fitted == 2
    setting = Setting(BlockKey("uap", 0.7), n_points=6)
    for i, row in enumerate(result.rows):
        resample = make_resample(matrix.members, i, config.verdict.n_train, config.verdict.n_calibrate, "0")
        scores = trial(matrix, resample, setting, config.encoder, f"{plan.probe.id}/{i}")
        expected = outcome(matrix, resample, scores)
        assert row["gap"] == pytest.approx(expected["gap"], abs=1e-5)
        assert row["auc"] == expected["auc"]
    drawn = pd.DataFrame(list(result.rows))
    for name in ("gap", "auc", "piracy", "homologous"):
        assert result.means[name] == pytest.approx(drawn[name].mean(), abs=1e-6), name
    for name in ("gap", "auc"):
        assert result.means[f"{name}_low"] - 1e-9 <= result.means[name] <= result.means[f"{name}_high"] + 1e-9, name


def test_answers_are_enough(answered: SuspectAnswers, tmp_path: Path) -> None:
    """Without a single model in the store the numbers are the same: no model is trained, asked or even read."""
    cells = cells_of("n_points=3,10", "top_k=0,1,10")
    full, bare = answered.copy(tmp_path / "a"), answered.copy(tmp_path / "b", "answers", "probe")
    ours, theirs = Trials(full), Trials(bare)
    for cell in cells:
        assert theirs.run(cell).rows == ours.run(cell).rows
    assert not (tmp_path / "b" / "model").exists()


def test_a_cell_is_computed_once(answered: SuspectAnswers, tmp_path: Path) -> None:
    store = answered.copy(tmp_path / "s")
    cell, other = cells_of("n_views=2,4")
    assert not Trials(store).settled(cell)
    first = Trials(store).run(cell)
    assert (Trials(store).settled(cell), Trials(store).settled(other)) == (True, False)
    again = Trials(store).run(cell)
    assert (first.fitted, again.fitted) == (2, 0)
    assert again.rows == first.rows
    path = sorted((tmp_path / "s" / "trial").iterdir())[0]
    path.write_bytes(path.read_bytes()[:50])
    assert Trials(store).run(cell).rows == first.rows


def test_the_knobs_do_something(answered: SuspectAnswers, tmp_path: Path) -> None:
    trials = Trials(answered.copy(tmp_path / "s"))
    grid = ("n_points=2,10", "top_k=0,10", "n_views=2,4", "xi=0.5,0.7", "loss=autoencoder,supcon", "encoder.tau=0.1,1")
    for axis in grid:
        one, two = (trials.run(cell) for cell in cells_of(axis))
        assert [r["piracy"] for r in one.rows] != [r["piracy"] for r in two.rows], axis


def test_one_architecture_trains_the_encoder(answered: SuspectAnswers, tmp_path: Path) -> None:
    (cell,) = cells_of("architecture=B", config=learning_from_fewer())
    trials = Trials(answered.copy(tmp_path / "s"))
    matrix = trials._matrix(cell)
    for resample, *_ in trials._fits(cell, matrix):
        training_rows = (*resample.training.piracy, *resample.training.homologous)
        assert {matrix.members[row].spec.architecture for row in training_rows} == {"B"}
    assert trials.run(cell).rows


def test_missing_answers_are_an_error_of_the_cell(answered: SuspectAnswers, tmp_path: Path) -> None:
    store = answered.copy(tmp_path / "s")
    (cell,) = cells_of("n_points=3")
    stolen = [m for m in cell.members if m.role == "piracy"]
    for member in stolen[:2]:
        store.discard("answers", cell.plan.response(member).id)
    result = Trials(store).run(cell)
    assert not result.rows
    assert "n_train" in result.error
    store.discard("answers", cell.plan.response(cell.members[0]).id)
    assert "victim" in Trials(store).run(cell).error


# --- the recorder


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


def test_what_an_evaluation_gave_up_is_not_tried_again(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener]
) -> None:
    """A stolen model below its gate: the evaluation was reported without it, and so is the grid."""
    store = answered.copy(tmp_path / "s")
    (cell,) = cells_of("n_points=3")
    gone = next(m for m in cell.members if m.role == "other_victim_piracy")
    answer = cell.plan.response(gone)
    store.discard("model", gone.spec.id)
    store.discard("answers", answer.id)
    failures = [{"id": key, "lost": False, "error": "GateError: below"} for key in (gone.spec.id, answer.id)]
    store.put("report", cell.plan.id, {}, {"failures": failures})
    around = RuntimeConfig(storage=str(tmp_path / "s"), workers=0)
    report = ablations.run_grid(small(), "tiny", 0, around, ["n_points=3"])
    assert report.trials == TrialCounts(run=1, reused=0)
    assert not store.has("model", gone.spec.id)
    store.discard("report", cell.plan.id)
    ablations.run_grid(small(), "tiny", 0, around, ["n_points=3"])
    assert store.has("model", gone.spec.id), "without a report it is one that has not been made yet"


def test_nothing_to_draw_is_drawn_as_nothing(answered: SuspectAnswers, tmp_path: Path) -> None:
    cells = cells_of("n_points=3,10")
    recorder = GridRecorder(cells, answered.copy(tmp_path / "s"), NullTracker())
    report = recorder.finish({cell.name: "dead" for cell in cells}, NOTHING_MADE)
    assert (report.table, len(report.failures)) == ((), 2)
    assert grid_figures(report) == {}


# --- the figures


def grid_of(xs: list[object], ys: list[object]) -> pd.DataFrame:
    """Two draws for each pair; AUC grows along x, one field was not measured."""
    rows = [
        {"n_points": x, "top_k": y, "auc": 0.6 + 0.05 * i + 0.02 * draw, "gap": -0.001}
        for i, x in enumerate(xs)
        for j, y in enumerate(ys)
        for draw in (0, 1)
        if (i, j) != (1, 1)
    ]
    return pd.DataFrame(rows)


def test_a_field_holds_the_mean_over_draws() -> None:
    figure = drawn(lambda: grid_maps(grid_of([5, 10, 20], [0, 1]), "n_points", "top_k"))
    area, gap = (sorted(t.get_text() for t in axis.texts) for axis in figure.axes)
    assert area == sorted([".61", ".61", ".66", ".71", ".71"])
    assert gap == [".00"] * 5
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["5", "10", "20"]


@pytest.mark.parametrize("n", [2, 8, 9, 24, 40])
def test_maps_are_legible(n: int) -> None:
    """Nothing is cut, nothing overlaps, however many columns, however long their names."""
    for name in ("{}", "a_rather_long={}"):
        table = grid_of([name.format(i) for i in range(n)], list(range(5)))
        figure = drawn(lambda table=table: grid_maps(table, "n_points", "top_k"))
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure)]
        for text, box in boxes:
            assert figure.bbox.x0 - 1 <= box.x0 < box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0 < box.y1 <= figure.bbox.y1 + 1, text
        for (a, one), (b, other) in combinations(boxes, 2):
            wide, high = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(wide, high) <= 1.5, f"{a!r} and {b!r} overlap"


def test_poor_maps() -> None:
    """Nothing, one field, nothing but NaN."""
    for table in (pd.DataFrame(), grid_of([1], [1]), grid_of([1, 2], [1]).assign(auc=float("nan"))):
        drawn(lambda table=table: grid_maps(table, "n_points", "top_k"))


@pytest.mark.parametrize(
    ("grid", "drawn_as"),
    [
        (("n_points=3,10",), {"lines"}),
        (("top_k=0,10",), {"lines"}),
        (("loss=supcon,autoencoder",), {"lines"}),
        (("n_points=3,10", "top_k=0,10"), {"map", "lines"}),
        (("n_points=3,10", "loss=supcon,autoencoder"), {"map", "lines"}),
        (("loss=supcon,autoencoder", "n_points=3,10"), {"map"}),
        (("n_points=3,10", "top_k=0,10", "loss=supcon,autoencoder"), {"map"}),
    ],
)
def test_grids_of_every_kind_are_drawn(
    grid: tuple[str, ...], drawn_as: set[str], answered: SuspectAnswers, tmp_path: Path
) -> None:
    report = GridRecorder(cells_of(*grid), answered.copy(tmp_path / "s"), NullTracker()).finish({}, NOTHING_MADE)
    found = grid_figures(report)
    assert set(found) == drawn_as
    for figure in found.values():
        drawn(lambda figure=figure: figure)


# --- the whole


def test_an_axis_that_needs_another_probe_gets_it(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener], capsys: pytest.CaptureFixture[str]
) -> None:
    """Probes and answers of two cells are made; of the models none is trained again."""
    answered.copy(tmp_path / "s")
    around = RuntimeConfig(storage=str(tmp_path / "s"), workers=0, report=tmp_path / "grid.json")
    report = ablations.run_grid(small(), "tiny", 0, around, ["uap.n_uaps=2,3", "top_k=0,10"])
    assert report.models == ModelCounts(trained=0, reused=12, failed=0)
    assert len(list((tmp_path / "s" / "probe").iterdir())) == 3
    assert report.trials == TrialCounts(run=4, reused=0)
    plain = to_json(report)
    assert json.loads((tmp_path / "grid.json").read_text()) == plain
    again = ablations.run_grid(small(), "tiny", 0, around, ["uap.n_uaps=2,3", "top_k=0,10"])
    assert again.trials == TrialCounts(run=0, reused=4)
    assert to_json(again)["draws"] == plain["draws"]
    assert [listener.status for listener in quiet] == ["FINISHED", "FINISHED"]
    print_grid(report, around)
    assert "uap.n_uaps" in capsys.readouterr().out


def ablation_job(folder: Path, *arguments: str, **variables: str) -> ProcessTree:
    """jobs/ablations.py over the tiny evaluation, as a process."""
    places = ("--storage", str(folder / "storage"), "--report", str(folder / "grid.json"))
    command = [sys.executable, str(JOB), "--preset", "digits", *flags(small()), *places, *arguments]
    with (folder / "out.txt").open("wb") as out:
        return ProcessTree(
            subprocess.Popen(
                command, cwd=folder, env=environment(**variables), stdout=out, stderr=out, start_new_session=True
            )
        )


@pytest.mark.slow
def test_killed_half_way_and_restored(answered: SuspectAnswers, tmp_path: Path, ray_home: str) -> None:
    """Tune goes on where it was: finished trials are not run again, the others are, and no model is trained."""
    answered.copy(tmp_path / "storage")
    MlflowClient(f"sqlite:///{tmp_path}/storage/mlflow.db").search_experiments()
    grid = ("--grid", "n_points=3,5,8,10", "--grid", "top_k=0,1,3,10", "--workers", "1")
    trials = tmp_path / "storage" / "trial"
    running = ablation_job(tmp_path, *grid, RAY_TMPDIR=ray_home)
    try:

        def enough() -> bool:
            running.look()
            assert running.process.poll() is None, (tmp_path / "out.txt").read_text()[-3000:]
            return len(list(trials.glob("*.safetensors"))) >= 8

        wait_until(enough, 120.0, "eight encoders in the store")
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        wait_until(lambda: not running.alive(), 60.0, "Ray to notice that its driver is dead")
    finally:
        running.end()
    before = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.safetensors")}
    assert 8 <= len(before) < 32
    (experiment,) = (path for path in (tmp_path / "storage" / "tune").iterdir() if path.is_dir())
    begun = {path.name for path in experiment.iterdir() if path.is_dir()}
    running = ablation_job(tmp_path, *grid, RAY_TMPDIR=ray_home)
    try:
        wait_until(lambda: running.look() or running.process.poll() is not None, 150.0, "the restored grid to end")
    finally:
        running.end()
    assert running.process.returncode == 0, (tmp_path / "out.txt").read_text()[-3000:]
    body: dict[str, Any] = json.loads((tmp_path / "grid.json").read_text())
    assert body["encoders_trained"] == 32 - len(before)
    assert body["models"]["trained"] == 0
    assert len(body["table"]) == 16
    assert body["failures"] == []
    after = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.safetensors")}
    assert {name: after[name] for name in before} == before
    names = {path.name for path in experiment.iterdir() if path.is_dir()}
    assert begun <= names
    assert len({name.split("_")[0] for name in names}) == 1, "Tune has gone on with its experiment, not begun another"


@pytest.mark.slow
@pytest.mark.heavy
def test_full_eval_goes_on_to_the_grid(answered: SuspectAnswers, tmp_path: Path, ray_home: str) -> None:
    """In one process one Ray session after the other: first an answer is missing, then encoders are to be trained."""
    store = answered.copy(tmp_path / "storage")
    plan = tiny_plan()
    store.discard("answers", plan.response(plan.members[1]).id)
    short = ("--methods", "uap", "--verdict.n-resamples", "1")
    with job(tmp_path, "--workers", "1", "--ablations", *short, RAY_TMPDIR=ray_home) as running:
        report = running.finish()
        assert "6 cells, 6 run and 0 reused" in running.stdout
    assert report["models"] == {"trained": 0, "reused": 14, "failed": 0}
    (kept,) = (tmp_path / "storage" / "ablation").glob("*.safetensors")
    body = store.get("ablation", kept.stem).info
    assert body["grid"] == {"n_points": ["10"], "top_k": ["0", "1", "2", "3", "5", "10"]}
    client = MlflowClient(f"sqlite:///{tmp_path}/storage/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'uapfp_dist'")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.preset = 'digits-ablation'")
    nested = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert parent.info.status == "FINISHED"
    assert sorted(run.data.tags["top_k"] for run in nested) == ["0", "1", "10", "2", "3", "5"]
