"""Part `processes`: several processes that train on one GPU, beside each other and through NVIDIA's MPS."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from uapfp_dist.benchmarks.clock import wait_for
from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.cluster.mps import mps
from uapfp_dist.data import Dataset
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe

BATCH = 64
START_SECONDS = 300.0
"""For all processes to be ready: where one has died, the part is ended first."""


@dataclass(frozen=True)
class Throughput:
    """Of n processes together."""

    processes: int
    steps_per_second: float
    """Of all together."""
    each: tuple[float, ...]
    mps: bool


def planned(settings: Settings) -> list[str]:
    """Names of all measurements."""
    return [_name(*case, with_mps) for with_mps in _ways(settings) for case in _cases(settings)]


def measure(settings: Settings, notes: Notes) -> None:
    """Without MPS, then with it: it must be there before the first process that is to use it."""
    for with_mps in _ways(settings):
        if not with_mps:
            _measure(settings, notes, with_mps=False)
            continue
        with mps() as why_not:
            if not why_not:
                _measure(settings, notes, with_mps=True)
                continue
            for case in _cases(settings):
                notes.take(_name(*case, with_mps), partial(_refuse, why_not))


def _ways(settings: Settings) -> tuple[bool, ...]:
    return (False, True) if settings.torch_device.type == "cuda" else (False,)


def _cases(settings: Settings) -> list[tuple[str, int]]:
    """Net and number of processes."""
    if settings.tiny:
        return [("A", 1), ("A", 2)]
    return [("A", 1), ("A", 4), ("A", 8), ("resnet18", 1), ("resnet18", 2), ("resnet18", 4)]


def _name(net: str, n: int, with_mps: bool) -> str:
    return f"{n} x {net}" + ", MPS" * with_mps


def _refuse(why: str) -> None:
    raise RuntimeError(why)


def _measure(settings: Settings, notes: Notes, *, with_mps: bool) -> None:
    cases = _cases(settings)
    with _workers(settings, max(n for _, n in cases)) as measured:
        for net, n in cases:
            notes.take(_name(net, n, with_mps), lambda net=net, n=n: measured(net, n, with_mps))  # type: ignore[misc]


@contextmanager
def _workers(settings: Settings, size: int) -> Iterator[Callable[[str, int, bool], Throughput]]:
    """Processes that start once and measure several times."""
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(size + 1), spawn.Queue()
    orders = [spawn.Queue() for _ in range(size)]
    processes = [spawn.Process(target=_work, args=(settings, orders[i], answers, barrier)) for i in range(size)]
    for process in processes:
        process.start()

    def measured(net: str, n: int, with_mps: bool) -> Throughput:
        for i, order in enumerate(orders):
            order.put(net if i < n else "")
        barrier.wait(START_SECONDS)
        found = [answers.get(timeout=START_SECONDS) for _ in range(size)]
        wrong = [answer for answer in found if isinstance(answer, str) and answer]
        if wrong:
            raise RuntimeError(wrong[0])
        each = tuple(answer for answer in found if answer)
        return Throughput(n, sum(each), each, with_mps)

    try:
        yield measured
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(settings: Settings, orders: Any, answers: Any, barrier: Barrier) -> None:
    """Trains what is ordered, all processes at a time; answers with steps a second, nothing, or what went wrong."""
    torch.set_num_threads(1)
    device, dataset = settings.torch_device, settings.images()
    index = torch.arange(min(12_000, len(dataset.labels)))
    while True:
        name, prepared, wrong = orders.get(), None, ""
        if name:
            try:
                prepared = _prepared(settings, name, dataset, index)
                wait_for(device)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
        barrier.wait(START_SECONDS)
        answers.put(wrong or (prepared and prepared()))


def _prepared(settings: Settings, name: str, dataset: Dataset, index: torch.Tensor) -> Callable[[], float]:
    device = settings.torch_device
    images, labels = dataset.to_train_on(index, device), dataset.labels[index].to(device)
    net = settings.net(name, dataset, device)
    net.normalise_by(images)
    trainer = Trainer(net, Recipe("adam", BATCH, BATCH * 10**6), torch_rng("order"))
    step = [0]
    chunk = settings.size(50 if name == "A" else 5, 2)

    def train_for(seconds: float) -> float:
        began, first = time.perf_counter(), step[0]
        while time.perf_counter() - began < seconds:
            step[0] += chunk
            trainer.run(images, labels, step[0] / 10**6)
            wait_for(device)
        return (step[0] - first) / (time.perf_counter() - began)

    train_for(0.0)
    return partial(train_for, float(settings.size(3, 0)) or 0.2)
