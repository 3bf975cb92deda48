"""A cell of a grid: stored answers are enough, and nothing is computed twice."""

from pathlib import Path

import pandas as pd
import pytest
from system import tiny_plan
from tiny_grids import SuspectAnswers, cells_of, learning_from_fewer

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.evaluation.encoder_trial import Setting, outcome, trial
from uapfp_dist.evaluation.trials import Trials
from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.tracking.tracker import NullTracker


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
