"""Outcomes travel to the central actor together, each once; what it could not keep is reported."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from fake_ray import WORK, FakeRay, on_no_storage
from ray.exceptions import ActorDiedError, GetTimeoutError

from uapfp_dist.cluster import central_actor as module
from uapfp_dist.cluster.central_actor import BATCH_CALLS, _Host
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.tasks.outcomes import Done


def test_outcomes_travel_together(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """Each once, in their order, before what is called later; a new actor is sent all of them, as few times."""
    fake, n = fakes(judge=[ActorDiedError()]), 3 * BATCH_CALLS + 7
    evaluator, spec = on_no_storage(digits_plan), digits_plan.members[0].spec
    evaluator.begin({})
    for _ in range(n):
        evaluator.observe(Done(spec, 1.0, "w"))
    evaluator.judge(WORK)
    for actor in (1, 2):
        assert fake.events.count(f"observe {actor}") == n
        assert fake.events.count(f"received {actor}") <= 5, "the first waits for no other"
        last = max(i for i, event in enumerate(fake.events) if event == f"observe {actor}")
        assert fake.events.index(f"judge {actor}") > last
    assert fake.events.index("begin 2") < fake.events.index("observe 2")


def test_what_has_waited_is_sent_before_a_note_and_before_the_end(
    digits_plan: Plan, fakes: Callable[..., FakeRay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 1e9)
    fake, spec = fakes(), digits_plan.members[0].spec
    evaluator = on_no_storage(digits_plan)
    evaluator.begin({})
    evaluator.observe(Done(spec, 1.0, "w"))
    assert "observe 1" not in fake.events
    evaluator.note({}, 30)
    evaluator.observe(Done(spec, 1.0, "w"))
    evaluator.close("FAILED")
    ours = [event for event in fake.events if event.split()[0] in ("observe", "note", "close")]
    assert ours == ["observe 1", "note 1", "observe 1", "close 1"]


def test_of_several_calls_each_is_made_whatever_became_of_the_others() -> None:
    def note(what: object) -> object:
        done.append(what)
        if isinstance(what, UserError):
            return what
        if isinstance(what, Exception):
            raise what
        return None

    done: list[object] = []
    refused = UserError("x: expected y, got z")
    calls = [("note", (what,)) for what in (1, OSError("no answer"), refused, 2)]
    assert _Host(lambda: SimpleNamespace(note=note)).call_each(calls) == ["OSError: no answer", refused]
    assert done == [what for _, (what,) in calls]


def test_nothing_went_wrong(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """However fast it was."""
    fake, shown = judged()
    assert fake.made == 1
    assert shown == ""


def test_an_outcome_that_could_not_be_kept_is_reported_and_judging_goes_on(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    fake, shown = judged(observe=[OSError("the storage did not answer")])
    assert fake.made == 1
    assert "evaluator: OSError: the storage did not answer; the work goes on" in shown


def test_a_tracker_that_opens_no_run_is_reported_with_its_argument(
    digits_plan: Plan, fakes: Callable[..., FakeRay]
) -> None:
    fakes(begin=[GetTimeoutError()])
    with pytest.raises(UserError, match="expected the tracker to open a run within 300 s") as error:
        on_no_storage(digits_plan).begin({})
    assert error.value.argument == "mlflow_uri"
