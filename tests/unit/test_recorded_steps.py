"""Training steps recorded as a CUDA graph: a replay does the same, and where recording fails training goes on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from uapfp_dist.acceleration import Acceleration, accelerated
from uapfp_dist.models import build, graphed_step
from uapfp_dist.models.graphed_step import WARM_UP, GraphedStep
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
ALL = Acceleration()


class FakeCuda:
    """`torch.cuda` as far as recording goes: what is recorded is not done, and a replay does it on the same inputs.

    Args:
        states: what a recorded step must not have changed.
    """

    def __init__(self, states: list[Mapping[str, Tensor]], fails: str = "") -> None:
        self._states, self._fails = states, fails
        self.recorded = self.replayed = self.on_side_stream = self.made = 0
        self.recording = False
        self.step: Any = None
        self.first = self.current = FakeStream()

    def Stream(self, device: torch.device) -> "FakeStream":  # noqa: N802
        self.made += 1
        return FakeStream()

    def current_stream(self, device: torch.device) -> "FakeStream":
        return self.current

    def set_stream(self, stream: "FakeStream") -> None:
        self.current = stream

    @contextmanager
    def stream(self, stream: "FakeStream") -> Iterator[None]:
        self.on_side_stream += 1
        yield

    def fail(self, where: str, error: type[RuntimeError] = RuntimeError) -> None:
        """If it is to fail there."""
        if where in self._fails:
            raise error("CUDA error: operation not permitted\nwhen stream is capturing")

    def CUDAGraph(self) -> "FakeCuda":  # noqa: N802
        return self

    @contextmanager
    def graph(self, graph: "FakeCuda", stream: "FakeStream", capture_error_mode: str) -> Iterator[None]:
        """As in torch, nobody sets the stream back where the beginning or the end of recording fails."""
        before, self.current = self.current, stream
        self.fail("begin")
        kept = [{key: tensor.detach().clone() for key, tensor in state.items()} for state in self._states]
        self.recorded += 1
        self.recording = True
        try:
            yield
        finally:
            self.recording = False
            with torch.no_grad():
                for state, values in zip(self._states, kept, strict=True):
                    for key, tensor in state.items():
                        tensor.copy_(values[key])
            self.fail("end")
            self.current = before

    def replay(self) -> None:
        self.replayed += 1
        self.step()


class FakeStream:
    """A stream that has nothing to wait for."""

    def wait_stream(self, other: "FakeStream") -> None:
        pass


@pytest.fixture(autouse=True)
def fresh_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no other test, which has another stand-in for CUDA."""
    monkeypatch.setattr(graphed_step, "_side_streams", graphed_step._SideStreams())


def counting(total: Tensor, cuda: FakeCuda) -> Any:
    """A step that adds its batch to `total`, replayed on the tensors that it was recorded with."""

    def step(images: Tensor, targets: Tensor) -> None:
        total.add_(images.sum() + targets.sum())
        if cuda.recording:
            cuda.fail("step")
            cuda.fail("memory", torch.OutOfMemoryError)
            cuda.step = lambda: total.add_(images.sum() + targets.sum())

    return step


def test_a_recorded_step_sees_every_batch() -> None:
    total = torch.zeros(())
    cuda = FakeCuda([{"total": total}])
    graphed, expected = GraphedStep(cuda), 0.0
    for number in range(12):
        n = 3 if number == 7 else 4  # one of another shape goes without the recording
        images, targets = torch.full((n, 2), float(number)), torch.full((n,), 100)
        expected += float(images.sum() + targets.sum())
        graphed(counting(total, cuda), images, targets)
        assert float(total) == expected
    assert (cuda.on_side_stream, cuda.recorded, cuda.replayed) == (WARM_UP, 1, 12 - WARM_UP - 1)


def test_trainings_share_one_side_stream() -> None:
    cuda = FakeCuda([])
    for _ in range(3):
        graphed = GraphedStep(cuda)
        for _ in range(WARM_UP + 1):
            graphed(counting(torch.zeros(()), cuda), torch.zeros(2, 2), torch.zeros(2))
    assert (cuda.recorded, cuda.made) == (3, 1)


@pytest.mark.parametrize("fails", [("memory",), ("memory", "end")])
def test_memory_that_runs_out_is_no_reason_to_go_on(fails: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool must see it; the next training in this process may be recorded."""
    monkeypatch.setattr(graphed_step, "_failed", [])
    cuda = FakeCuda([], fails=" ".join(fails))
    graphed = GraphedStep(cuda)
    step, images, targets = counting(torch.zeros(()), cuda), torch.zeros(2, 2), torch.zeros(2)
    for _ in range(WARM_UP):
        graphed(step, images, targets)
    with pytest.raises(torch.OutOfMemoryError):
        graphed(step, images, targets)
    assert graphed_step._failed == []
    assert cuda.current is cuda.first


@pytest.mark.parametrize("fails", ["begin", "step", "end"])
def test_where_recording_fails_training_goes_on_and_says_so_once(
    fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphed_step, "_failed", [])
    for _ in range(2):
        total = torch.zeros(())
        cuda = FakeCuda([{"total": total}], fails=fails)
        graphed = GraphedStep(cuda)
        for number in range(8):
            graphed(counting(total, cuda), torch.full((2, 2), float(number)), torch.zeros(2))
        assert (float(total), cuda.replayed) == (4 * sum(range(8)), 0)
        assert cuda.current is cuda.first
    assert len(caplog.records) == 1
    assert "\n" not in caplog.text.strip()
    assert "goes on step by step (CUDA error: operation not permitted when" in caplog.text


def test_a_trainer_whose_steps_are_recorded_trains_the_same_net(own: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several calls of `run`, with a learning rate that changes between replays."""
    targets, weights = torch.arange(200) % 10, []
    for recorded in (False, True):
        net = build("C", (1, 8, 8), 10, 4, 0, CPU)
        with accelerated(replace(ALL, cuda_graph=False)):
            trainer = Trainer(net, Recipe("adam", 64, 64 * 30), torch_rng("order"))
        if recorded:
            trainer._graphed = GraphedStep(cuda := TrainerCuda(trainer))
        trainer.run(own[:200], targets, 0.5)
        trainer.run(own[:190], targets[:190])
        weights.append(net.state_dict())
    assert (cuda.recorded, cuda.replayed) == (1, 30 - WARM_UP)
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


class TrainerCuda(FakeCuda):
    """Recording a step of a trainer leaves its net and its optimizer as they were."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__([])
        self._trainer = trainer

    @contextmanager
    def graph(self, graph: FakeCuda, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        trainer = self._trainer
        remembered = trainer.optimizer.state.values()
        self._states = [trainer.net.state_dict(), *remembered]
        with super().graph(graph, stream, capture_error_mode):
            yield

    def replay(self) -> None:
        self.replayed += 1
        graphed = self._trainer._graphed
        assert graphed is not None
        assert graphed._inputs is not None
        self._trainer._plain_step(*graphed._inputs)
