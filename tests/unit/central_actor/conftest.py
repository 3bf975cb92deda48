"""A simulated Ray, and an evaluation that is judged through its faults."""

import io
from collections.abc import Callable

import pytest
from fake_ray import REPORT, WORK, FakeRay, on_no_storage

from uapfp_dist.cluster import central_actor as module
from uapfp_dist.cluster import central_evaluator
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.tasks.outcomes import Done


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRay]:
    """Puts a fake in the place of Ray."""

    def make(gpus: float = 0.0, **faults: list[Exception]) -> FakeRay:
        fake = FakeRay(faults, gpus=gpus)
        for user in (module, central_evaluator):
            monkeypatch.setattr(user, "ray", fake)
        return fake

    return make


@pytest.fixture
def judged(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> Callable[..., tuple[FakeRay, str]]:
    """Begins, observes two models, notes three times and judges, through `faults`; what went on and what was shown."""

    def run(gpus: float = 0.0, **faults: list[Exception]) -> tuple[FakeRay, str]:
        fake, shown = fakes(gpus, **faults), io.StringIO()
        evaluator = on_no_storage(digits_plan, shown)
        assert evaluator.begin({}) == ""
        for member in digits_plan.members[:2]:
            evaluator.observe(Done(member.spec, 1.0, "w"))
        for seconds in (30, 60, 90):
            evaluator.note({}, seconds)
        assert evaluator.judge(WORK) is REPORT
        return fake, shown.getvalue()

    return run
