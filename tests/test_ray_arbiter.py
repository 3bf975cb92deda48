"""The central actor as its driver sees it, on a Ray that is only imagined: what it does not keep, when it is away."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayTaskError

from uapfp_dist.cluster import arbiter as module
from uapfp_dist.cluster.arbiter import RayArbiter, _Actor
from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.pipeline.report import Report
from uapfp_dist.progress import Progress
from uapfp_dist.runtime import NullTracker
from uapfp_dist.types import Done

REPORT = Report({"verdicts": []}, {})


@dataclass
class FakeRay:
    """Actors whose answers are thunks; `faults` are raised, one after the other, instead of answers to a call."""

    faults: dict[str, list[Exception]]
    events: list[str] = field(default_factory=list)
    made: int = 0

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        return lambda kind: SimpleNamespace(remote=lambda *arguments: self._actor())

    def _actor(self) -> Any:
        self.made += 1
        number = self.made
        self.events.append(f"made {number}")
        answers = {"begin": "", "judge": REPORT, "progress": (1, 2)}

        def call(name: str, *arguments: Any) -> Callable[[], Any]:
            self.events.append(f"{name} {number}")
            return lambda: answers.get(name)

        def named(name: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: (name, call(name, *arguments)))

        told = SimpleNamespace(remote=lambda name, *arguments: (name, call(name, *arguments)))
        return SimpleNamespace(call=told, progress=named("progress"), number=number)

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        name, answer = reference
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        return answer()

    def kill(self, actor: Any) -> None:
        self.events.append(f"killed {actor.number}")


@pytest.fixture
def judged(digits_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeRay, str]]:
    """Begins, observes two models and judges, through `faults`; returns what went on and what was said."""

    def run(**faults: list[Exception]) -> tuple[FakeRay, str]:
        fake, told = FakeRay(faults), io.StringIO()
        monkeypatch.setattr(module, "ray", fake)
        progress = Progress(0, told)
        arbiter = RayArbiter(digits_plan, "nowhere", NullTracker, progress)
        assert arbiter.begin({}) == ""
        for member in digits_plan.members[:2]:
            arbiter.observe(Done(member.spec, 1.0, "w"))
        assert arbiter.judge({}) is REPORT
        return fake, told.getvalue()

    return run


def failed(error: Exception) -> Exception:
    """As Ray hands it on."""
    return RayTaskError("call", f"Traceback\n{type(error).__name__}: {error}", error).as_instanceof_cause()


def test_nothing_went_wrong(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """However fast it was."""
    fake, told = judged()
    assert fake.made == 1
    assert told == ""


def test_an_outcome_that_could_not_be_kept_is_told_and_judging_goes_on(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    fake, told = judged(observe=[failed(OSError("the storage did not answer"))])
    assert fake.made == 1
    assert "OSError: the storage did not answer; judging goes on" in told


def test_an_actor_whose_host_says_nothing_is_waited_for_until_it_is_declared_dead(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    silent: list[Exception] = [GetTimeoutError() for _ in range(3)]
    fake, _ = judged(judge=[*silent, ActorDiedError()], progress=silent[:])
    assert fake.made == 2
    assert fake.events.index("killed 1") < fake.events.index("made 2")
    assert fake.events.count("observe 2") == 2, "told again what was seen"


def test_there_is_one_writer_at_a_time(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """An actor out of reach may still be at work."""
    fake, _ = judged(judge=[ActorUnavailableError("away", None)])
    assert fake.events.index("killed 1") < fake.events.index("made 2")


def test_judging_takes_the_cpus_of_its_own_node(digits_plan: Plan, tmp_path: Path) -> None:
    """A cluster may begin without any, and grow to thousands that one process does not have."""
    assert _Actor(digits_plan, str(tmp_path), NullTracker)._make().threads == len(os.sched_getaffinity(0))
