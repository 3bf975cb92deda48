"""A central actor that is silent is waited for, one that is dead is replaced: one writer at a time."""

from collections.abc import Callable

import pytest
from fake_ray import GRID_REPORT, FakeRay, central_recorder, on_no_storage
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayTaskError
from tiny_grids import NOTHING_MADE

from uapfp_dist.cluster.central_actor import MAX_REPLACEMENTS
from uapfp_dist.evaluation.plan import Plan


def failed(error: Exception) -> Exception:
    """As Ray hands it on."""
    return RayTaskError("call", f"Traceback\n{type(error).__name__}: {error}", error).as_instanceof_cause()


def test_an_actor_whose_host_is_silent_is_waited_for_until_it_is_declared_dead(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    silent: list[Exception] = [GetTimeoutError() for _ in range(3)]
    fake, _ = judged(judge=[*silent, ActorDiedError()], progress=silent[:])
    assert fake.made == 2
    assert fake.events.index("killed 1") < fake.events.index("made 2")
    assert fake.events.count("observe 2") == 2, "what was sent is sent again"


def test_there_is_one_writer_at_a_time(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """An actor out of reach may still be at work."""
    fake, _ = judged(judge=[ActorUnavailableError("away", None)])
    assert fake.events.index("killed 1") < fake.events.index("made 2")


@pytest.mark.parametrize("call", ["begin", "judge", "note"])
@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_a_dead_actor_is_replaced_however_it_died(
    call: str, error: Exception, judged: Callable[..., tuple[FakeRay, str]]
) -> None:
    """Ray's memory monitor kills with an error that is no subclass of the others."""
    fake, shown = judged(**{call: [error]})
    assert fake.made == 2
    assert fake.events.count("begin 2") == 1
    assert "the evaluator is replaced" in shown


def test_a_dead_actor_is_noticed_at_the_next_note(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """Not when all is trained. What it did not note is not repeated, one that is only out of reach is left."""
    fake, _ = judged(note=[ActorDiedError()])
    assert fake.events.index("made 2") < fake.events.index("judge 2")
    assert (fake.events.count("note 1"), fake.events.count("note 2"), fake.events.count("judge 1")) == (1, 2, 0)
    assert fake.events.count("observe 2") == 2
    fake, shown = judged(note=[ActorUnavailableError("away", None), failed(OSError("no answer"))])
    assert fake.made == 1
    assert shown == ""


def test_replacements_are_counted_over_all_of_an_evaluation(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    faults = {"begin": 1, "note": 1, "judge": MAX_REPLACEMENTS - 2}
    fake, _ = judged(**{name: [ActorDiedError() for _ in range(n)] for name, n in faults.items()})
    assert fake.made == 1 + MAX_REPLACEMENTS
    with pytest.raises(ActorDiedError):
        judged(**{name: [ActorDiedError() for _ in range(n + 1)] for name, n in faults.items()})
    fake, _ = judged(note=[ActorDiedError(), ActorDiedError()], begin=[ActorDiedError(), ActorDiedError()])
    assert fake.made == 1 + MAX_REPLACEMENTS, "a note alone ends nothing"


@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_the_end_outlives_a_dead_actor(error: Exception, digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """What it was to show is in the store; the recorder of a grid does likewise."""
    fakes(publish=[error], close=[error])
    evaluator = on_no_storage(digits_plan)
    assert "the evaluator died while it showed the result" in evaluator.publish()
    evaluator.close("FINISHED")
    fake = fakes(finish=[error], publish=[error], close=[error])
    recorder = central_recorder()
    recorder.begin({}, {})
    assert recorder.finish({}, NOTHING_MADE) is GRID_REPORT
    assert fake.made == 2
    assert fake.events.count("begin 2") == 1
    assert "the recorder died while it showed the result" in recorder.publish()
    recorder.close("FINISHED")
