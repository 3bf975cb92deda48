"""What sweeps vary, over which resamples: settings and resamples alone, no encoder is fitted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from method_matrix import TESTED, TRAINING

from uapfp_dist.config.schema import StudyConfig
from uapfp_dist.evaluation.encoder_trial import Setting
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.reporting.sections import sweeps
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.rng import torch_rng

Make = Callable[[ReportData], ReportSection | None]
SWEEPS: Sequence[Make] = (
    sweeps.n_points,
    sweeps.top_k,
    sweeps.n_views,
    sweeps.view_algorithms,
    sweeps.one_architecture,
)
"""All but that of the losses."""


class Trials:
    """In place of encoders: scores at random; what was asked for is kept."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.resamples: list[int] = []

    def __call__(self, _: object, matrix: ResponseMatrix, resample: Resample, setting: Setting, *__: object) -> Any:
        """A trial."""
        self.settings.append(setting)
        self.resamples.append(resample.index)
        return torch.rand(len(matrix.members), generator=torch_rng(len(self.settings)))


@pytest.fixture
def trials(matrix: ResponseMatrix, monkeypatch: pytest.MonkeyPatch) -> Trials:
    """No encoder is fitted; resamples differ by their number, the second probe by nothing."""
    found = Trials()
    monkeypatch.setattr(sweeps, "stored_trial", found)
    monkeypatch.setattr(sweeps, "make_resample", lambda _, index, *__: resample(index))
    monkeypatch.setattr(sweeps, "_second_matrix", lambda _: (matrix, list(range(len(matrix.members)))))
    return found


def resample(index: int) -> Resample:
    """Resamples that differ by their number alone."""
    return Resample(index, TRAINING, (7,), TESTED)


def sweep_data(plan: Plan, matrix: ResponseMatrix, judged: int, swept: int, loss: str = "supcon") -> ReportData:
    """An evaluation of `judged` resamples whose sweeps may use `swept` of them."""
    config = replace(
        plan.config,
        encoder=replace(plan.config.encoder, loss=loss),
        studies=StudyConfig(sweeps=True, n_points=(3,), top_k=(1,), n_views=(2,), n_resamples=swept),
    )
    plan = replace(plan, config=config, second_probe=plan.probe)
    found = SimpleNamespace(plan=plan, matrix=matrix, store=None, pool=None, threads=1, setting="by hand")
    found.resamples = [SimpleNamespace(resample=resample(i)) for i in range(judged)]
    return cast(ReportData, found)


@pytest.mark.parametrize("make", SWEEPS)
@pytest.mark.parametrize("loss", ["supcon", "cross_entropy"])
def test_sweeps_keep_the_loss_of_the_evaluation(
    make: Make, loss: str, digits_plan: Plan, matrix: ResponseMatrix, trials: Trials
) -> None:
    assert make(sweep_data(digits_plan, matrix, 2, 2, loss)) is not None
    assert trials.settings
    assert {setting.loss for setting in trials.settings} == {loss}


def test_the_sweep_of_losses_has_all_of_them(digits_plan: Plan, matrix: ResponseMatrix, trials: Trials) -> None:
    """Whatever the evaluation's own is."""
    assert sweeps.losses(sweep_data(digits_plan, matrix, 1, 1, "cross_entropy")) is not None
    assert [setting.loss for setting in trials.settings] == ["supcon", "cross_entropy", "autoencoder"]


@pytest.mark.parametrize(("judged", "swept", "used"), [(2, 3, 2), (3, 2, 2)])
@pytest.mark.parametrize("make", [*SWEEPS, sweeps.losses])
def test_sweeps_say_over_how_many_resamples_they_are(
    make: Make, judged: int, swept: int, used: int, digits_plan: Plan, matrix: ResponseMatrix, trials: Trials
) -> None:
    """An evaluation may have fewer than its sweeps ask for; every row is a mean over the same ones."""
    section = make(sweep_data(digits_plan, matrix, judged, swept))
    assert section is not None
    assert f"Means over {used} resamples" in section.text
    (table,) = section.tables.values()
    assert sorted(trials.resamples) == sorted([*range(used)] * len(table))
