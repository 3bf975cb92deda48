"""What a person who watches is shown, and the numbers behind it."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from system import tiny_plan

from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.make_model import GateError
from uapfp_dist.progress import InWork, Progress
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.method_configs import SubspaceConfig
from uapfp_dist.tasks.modification_specs import FineTune, Prune
from uapfp_dist.tasks.outcomes import Done, Failed
from uapfp_dist.tasks.specs import Extracted, Modified, SubspaceSpec


class Clock:
    """Time that passes by assignment."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In place of the machine's."""
    clock = Clock()
    monkeypatch.setattr("uapfp_dist.progress.time.monotonic", clock)
    return clock


@pytest.fixture
def plan() -> Plan:
    """The tiny evaluation: 14 models, a probe, 12 answers."""
    return tiny_plan()


class Watched:
    """A pool that knows who is at what."""

    def __init__(self, entries: InWork) -> None:
        self.entries = entries

    def in_work(self) -> InWork:
        """As it was made."""
        return self.entries


def after(clock: Clock, seconds: float, out: io.StringIO, do: Callable[[], object]) -> str:
    """What is said by `do`, so much later."""
    clock.now += seconds
    start = len(out.getvalue())
    do()
    return out.getvalue()[start:]


def test_stages_eta_and_who_is_at_what(clock: Clock, plan: Plan) -> None:
    out = io.StringIO()
    progress = Progress(workers=2, out=out)
    progress.expect(plan.specs)
    models = [m.spec for m in plan.members]
    clock.now += 5
    progress.observe(Done(models[0], 5.0, "w1"))
    progress.watch(Watched([("host:1", models[1], 7.0), ("host:2", models[5], 3.0)]))
    said = after(clock, 15, out, lambda: progress.observe(Done(models[2], 10.0, "w1")))
    head, *workers = said.splitlines()
    # Two models in 20 s: the other twelve take 120 s more. 15 s done and 10 s under way, of 2 x 20.
    assert "[00:20] zoo 2/14 ETA 02:00  probe 0/1  answers 0/12" in head
    assert "2 of 2 workers busy, 62% used, 23 tasks wait" in head
    assert workers == [
        f"    host:1: {describe(models[1])}, for 7 s",
        f"    host:2: {describe(models[5])}, for 3 s",
    ]
    assert after(clock, 1, out, progress.refresh) == "", "every ten seconds is enough"


def test_many_workers_are_summed_up(clock: Clock, plan: Plan) -> None:
    out = io.StringIO()
    progress = Progress(workers=9, out=out)
    progress.expect(plan.specs)
    progress.watch(Watched([(f"w{i}", plan.members[0].spec, float(i)) for i in range(9)]))
    lines = after(clock, 11, out, progress.refresh).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:5]] == ["w8", "w7", "w6", "w5"], "the longest at it first"
    assert lines[5].strip() == "and 5 more, for a shorter time"


def test_a_failure_is_reported_at_once_with_the_end_of_its_traceback(clock: Clock, plan: Plan) -> None:
    out = io.StringIO()
    progress = Progress(workers=1, out=out)
    progress.expect(plan.specs)
    spec = plan.members[1].spec
    details = "\n".join(f"line {i}" for i in range(20))
    progress.observe(Failed(spec, "RuntimeError: struck (net.py:7)", details=details))
    first, *rest = out.getvalue().splitlines()[:5]
    assert first == f"FAILED model {spec.id} ({describe(spec)}): RuntimeError: struck (net.py:7)"
    assert [line.strip() for line in rest] == ["line 16", "line 17", "line 18", "line 19"]
    before = out.getvalue()
    progress.observe(Failed(plan.response(plan.members[1]), "needs a model", skipped=True))
    assert "needs a model" not in out.getvalue()[len(before) :], "what is skipped follows from it"
    assert progress.failed == 1


def test_a_model_below_its_gate_is_one_line(clock: Clock, plan: Plan) -> None:
    """Nothing is broken."""
    out = io.StringIO()
    progress = Progress(workers=1, out=out)
    progress.expect(plan.specs)
    spec = plan.members[1].spec

    def below_gate(spec: Spec) -> None:
        raise GateError("accuracy 0.100, 0.200 in 2 attempts; the gate is 0.900")

    progress.observe(attempt_task(spec, below_gate, "here"))
    why = "GateError: accuracy 0.100, 0.200 in 2 attempts; the gate is 0.900"
    failure, *state = out.getvalue().splitlines()
    assert failure == f"FAILED model {spec.id} ({describe(spec)}): {why}"
    assert all(line.startswith("[") for line in state), "no traceback, only the state of the work"


def test_the_numbers(clock: Clock, plan: Plan) -> None:
    progress = Progress(workers=2, out=io.StringIO())
    progress.expect(plan.specs)
    assert "utilisation" not in progress.numbers(), "nothing is known before the first spec is done"
    models = [m.spec for m in plan.members]
    clock.now += 10
    progress.observe(Done(models[0], 10.0, "w1"))
    progress.observe(Done(models[1], 10.0, "w2"))
    progress.observe(Done(models[2], 0.0, "store", reused=True))
    progress.observe(Failed(models[3], "x"))
    progress.watch(Watched([("w1", models[4], 0.0)]))
    numbers = progress.numbers()
    found = {key: numbers[key] for key in ("zoo_done", "zoo_reused", "zoo_failed", "zoo_total")}
    assert found == {"zoo_done": 2, "zoo_reused": 1, "zoo_failed": 1, "zoo_total": 14}
    assert (numbers["in_work"], numbers["waiting"], numbers["workers"]) == (1, 22, 2)
    assert numbers["utilisation"] == pytest.approx(1.0)
    clock.now += 10
    assert progress.numbers()["utilisation"] == pytest.approx(0.5), "an idle worker is seen"
    assert progress.busy() == pytest.approx(1.0), "between the first and the last spec both were busy"


def test_a_listener_gets_numbers_twice_a_minute(clock: Clock, plan: Plan) -> None:
    received: list[int] = []
    progress = Progress(workers=1, out=io.StringIO())
    progress.expect(plan.specs)
    progress.watch(object(), lambda numbers, seconds: received.append(seconds))
    for _ in range(70):
        clock.now += 1
        progress.refresh()
    progress.note()
    assert received == [30, 60, 70]


def test_a_pool_that_knows_nothing_is_no_trouble(clock: Clock, plan: Plan) -> None:
    out = io.StringIO()
    progress = Progress(workers=1, out=out)
    progress.expect(plan.specs)
    progress.watch(object())
    assert after(clock, 11, out, progress.refresh) == "[00:11] zoo 0/14  probe 0/1  answers 0/12\n"


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """Lines as they are seen: what comes after a return overwrites."""
        shown = []
        for line in self.getvalue().split("\n"):
            seen = ""
            for part in line.split("\r"):
                seen = part + seen[len(part) :]
            shown.append(seen.rstrip())
        return shown


def test_a_terminal_has_one_line(clock: Clock, plan: Plan) -> None:
    """How much of the stage is done, how long it takes still, and what has taken longest."""
    out = Terminal()
    progress = Progress(workers=2, out=out)
    progress.expect(plan.specs)
    models = [m.spec for m in plan.members]
    progress.watch(Watched([("w1", models[3], 1.0), ("w2", models[4], 2.0)]))
    clock.now += 10
    progress.observe(Done(models[0], 10.0, "w1"))
    progress.observe(Done(models[1], 0.0, "store", reused=True))
    clock.now += 1
    progress.refresh()
    (line,) = out.screen
    assert line.startswith("[00:11] zoo  14% |")
    assert line.endswith(f"| 2/14, ETA 02:12, 2 of 2 workers busy: {describe(models[4])}")
    progress.observe(Failed(models[2], "struck"))
    said, line = out.screen
    assert said.startswith(f"FAILED model {models[2].id}")
    assert "2/14" in line, "the bar is below what was said"


def test_what_comes_after_the_work_has_the_line_for_itself(clock: Clock) -> None:
    out = Terminal()
    progress = Progress(workers=1, out=out)
    for done in range(3):
        clock.now += 1
        progress.step("images", done, 2)
    assert out.screen == [""]
    progress.say("the end")
    assert out.screen == ["the end", ""]


def test_specs_in_words(plan: Plan) -> None:
    by_role = {m.role: m.spec for m in plan.members}
    extracted = by_role["piracy"]
    modified = replace(extracted, origin=Modified(extracted, Prune(0.4)), gate=None)
    twice = replace(modified, origin=Modified(modified, FineTune()))
    assert describe(by_role["same_data"]).endswith("trained on the victim's images")
    assert describe(by_role["homologous"]).endswith("trained on other images")
    assert describe(extracted).split(" ", 2)[2] == "extracted by cloudleak (hard labels)"
    assert describe(twice) == f"{describe(extracted)}, prune .4, fine-tune"
    assert isinstance(extracted.origin, Extracted)
    mixing = replace(extracted, origin=replace(extracted.origin, attack="knockoff", victim=extracted, true_share=0.25))
    assert describe(mixing).split(" ", 2)[2] == (
        "extracted by knockoff (hard, .25 true labels) from one extracted by cloudleak (hard labels)"
    )
    assert describe(plan.probe).startswith("probe of A ")
    assert describe(plan.response(plan.members[1])) == f"responses of {describe(plan.members[1].spec)}"
    assert describe(SubspaceSpec(extracted, SubspaceConfig(), 0)) == f"UAPs of {describe(extracted)}"
