"""Parts of the benchmark, small: what they compare is equal and what they count is right; no time is judged."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from uapfp_dist.benchmarks import cluster, deepfool, encoders, measure, peers, precision, responses, uap
from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.race import Point, race, sum_up
from uapfp_dist.benchmarks.victims import TrainedVictim, prepare
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig, SiblingConfig, StudyConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.models import Net
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.specs import ModelSpec


@pytest.fixture(scope="module")
def trained(victim: Net, own: Tensor, held_out: Tensor) -> TrainedVictim:
    """The victim of the tests, few images."""
    return TrainedVictim("digits", victim, own[:200], held_out[:40])


@pytest.fixture
def said() -> list[str]:
    """Lines of results."""
    return []


def small() -> Config:
    """Digits, without controls and siblings, in nets of four channels."""
    config = preset("digits")
    zoo = replace(config.zoo, width=4, epochs=1.0, homologous_margin=1.0, piracy_margin=1.0)
    return replace(config, zoo=zoo, siblings=SiblingConfig(), controls=ControlConfig())


def test_the_clock_counts_work_and_no_sleep() -> None:
    watch = Stopwatch()
    with watch:
        time.sleep(0.2)
    assert watch.seconds < 0.1
    with watch:
        while watch.seconds + time.process_time() - watch.started < 0.1:
            pass
    assert watch.seconds >= 0.1


def test_a_race_ends_at_what_both_reach() -> None:
    traces = {"ours": [Point(1.0, 0.2), Point(2.0, 0.9)], "theirs": [Point(3.0, 0.1), Point(8.0, 0.5)]}
    found = race(traces)
    assert found.fooling == 0.5
    assert found.best == {"ours": 0.9, "theirs": 0.5}
    assert found.seconds == {"ours": 2.0, "theirs": 8.0}
    both = sum_up(1.5, [found, found], "ours", "theirs")
    assert (both.fooling, both.ratio, both.seconds["theirs"]) == (0.5, 4.0, 16.0)


def test_uaps_race_over_the_orders(trained: TrainedVictim, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uap, "ORDERS", 1)
    monkeypatch.setattr(uap, "LOOP_PASSES", 1)
    monkeypatch.setattr(uap, "SGD_PASSES", (1, 2))
    found = uap.uap_ratio(trained, said.append)
    assert found.races[0].best.keys() == found.seconds.keys() == {"sgd", "one_by_one"}
    assert 0.0 <= found.fooling <= 1.0
    assert f"ratio {found.ratio:.1f}" in said[0]


def test_the_floor_of_deepfool_is_one_pass_for_each_step_and_rival(
    trained: TrainedVictim, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepfool, "IMAGES", 8)
    monkeypatch.setattr(deepfool, "REPEATS", 1)
    found = deepfool.floor_ratio(trained, said.append)
    assert found.backward_passes % 9 == 0
    assert found.backward_passes >= 8 * 9
    assert found.ratio > 0
    assert "8 images, 10 classes" in said[0]


def test_gathered_responses_are_those_of_view_by_view(
    trained: TrainedVictim, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "N_POINTS", 5)
    monkeypatch.setattr(responses, "N_VIEWS", 4)
    found = responses.responses_ratio(trained, said.append)
    assert found.images["view_by_view"] == 2 * 4 * 5
    assert found.images["gathered"] <= 2 * 4 * 5 + 1, "and one natural image"
    assert "equal fingerprints" in said[0]


def test_our_deepfool_over_all_and_over_few_classes(
    trained: TrainedVictim, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries need not be installed."""
    monkeypatch.setattr(peers, "THEIRS", {"theirs": peers.ours})
    found = peers.deepfool_race("digits", trained.net, trained.held_out[:8], said.append)
    assert found.rows["ours"].l2 == pytest.approx(found.rows["theirs"].l2)
    assert found.rows["ours"].l2 <= found.rows["ours, 5 candidates"].l2 * (1 + 1e-4)
    assert found.ratios.keys() == peers.OURS.keys()
    monkeypatch.setattr(peers, "LIBRARIES", ("torch", "no_such_library"))
    assert peers.missing() == ["no_such_library"]
    assert measure.against_peers(trained, said.append) is None
    assert "no_such_library not installed" in said[-1]


def test_a_model_is_made_in_both_precisions(digits: Dataset, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On equal seeds; also where bfloat16 is emulated, which the test of the machine would skip."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "load", lambda name, root: digits)
    monkeypatch.setattr(precision, "preset", lambda name: small())
    monkeypatch.setattr(precision, "N_MODELS", 1)
    found = precision.precision_ratio(Path(), said.append)
    assert found is not None
    assert [made.origin for made in found.models] == ["trained", "trained"]
    assert found.largest_difference == max(abs(a - b) for a, b in (made.accuracy for made in found.models))
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    assert precision.precision_ratio(Path(), said.append) is None


def test_the_arithmetic_of_encoders_grows_with_epochs_and_resamples(digits: Dataset) -> None:
    config = small()
    fingerprint = replace(config.fingerprint, n_points=5, n_views=4, n_test_views=2, n_natural=10)
    config = replace(config, fingerprint=fingerprint, modifications=ModificationConfig(), studies=StudyConfig())
    matrix = encoders.synthetic_matrix(make_plan(config, 0, digits))
    assert all(bool(torch.isfinite(block).all()) for one in matrix.responses for block in one.blocks.values())
    verdict = config.verdict
    drawn = make_resample(matrix.members, 0, verdict.n_train, verdict.n_calibrate, "0")
    n, flops, numbers = encoders._arithmetic(matrix, [drawn], config.encoder)
    assert n == len(matrix.formats) * (1 + verdict.n_train)
    assert encoders._arithmetic(matrix, [drawn] * 2, config.encoder) == (2 * n, 2 * flops, 2 * numbers)
    longer = replace(config.encoder, epochs=2 * config.encoder.epochs)
    assert flops < encoders._arithmetic(matrix, [drawn], longer)[1] < 2 * flops


def test_models_are_timed_once_the_victim_is_there(digits: Dataset) -> None:
    specs = [spec for spec in make_plan(small(), 0, digits).specs if isinstance(spec, ModelSpec)]
    done: list[str] = []
    found = cluster.timed(specs, SerialPool(lambda spec: done.append(spec.id)), 0)
    assert done[0] == specs[0].id
    assert sorted(done) == sorted(spec.id for spec in specs)
    assert 0.0 <= found.busy <= found.wall


def test_victims_are_trained_and_the_parts_chosen(said: list[str]) -> None:
    trained = prepare("digits", None, width=4, samples_seen=200)
    assert trained.net.training is False
    assert len(trained.held_out) <= 1000
    nothing = measure.measure((), None, 0, said.append)
    assert not any(vars(nothing).values())
    assert said == []
    check(measure.small_evaluation())
