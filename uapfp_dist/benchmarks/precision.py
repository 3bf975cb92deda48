"""Part of the benchmark: models of one zoo made in float32 and in bfloat16, in turn."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset, load
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import make_model
from uapfp_dist.models.precision import has_bfloat16
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.recipe import Precision
from uapfp_dist.tasks.specs import Extracted, ModelSpec

PRESET, SEED = "fashion_mnist-small", 1000
N_MODELS = 12
"""Beside the victim: homologous and extracted ones, each architecture in turn."""
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class MadeTwice:
    """One model in both precisions, on equal seeds."""

    architecture: str
    optimizer: str
    origin: str
    seconds: tuple[float, float]
    """CPU seconds to make and to measure it, float32 first."""
    accuracy: tuple[float, float]


@dataclass(frozen=True)
class PrecisionRatio:
    """What bfloat16 is worth."""

    models: tuple[MadeTwice, ...]
    ratio: float
    """CPU seconds of all in bfloat16 over those in float32."""
    largest_difference: float
    """Of accuracy, between the two of one model."""


def precision_ratio(data_root: Path, say: Callable[[str], object]) -> PrecisionRatio | None:
    """Make a sample of the zoo of `fashion_mnist-small` twice, model by model; None where bfloat16 is emulated."""
    if not has_bfloat16(torch.device("cpu")):
        say("precision, skipped: this CPU has no bfloat16 (AMX or avx512_bf16)")
        return None
    dataset = load("fashion_mnist", data_root)
    plans = [make_plan(replace(preset(PRESET), precision=p), SEED, dataset) for p in PRECISIONS]
    with tempfile.TemporaryDirectory() as folder:
        models = tuple(_made_twice(plans, dataset, Path(folder), say))
    seconds = [sum(model.seconds[i] for model in models) for i in range(2)]
    ratio, largest = seconds[1] / seconds[0], max(abs(m.accuracy[0] - m.accuracy[1]) for m in models)
    say(f"precision, {len(models)} models: {ratio:.2f} of float32's CPU seconds, accuracy within {largest:.3f}")
    return PrecisionRatio(models, ratio, largest)


def _made_twice(plans: list[Plan], dataset: Dataset, folder: Path, say: Callable[[str], object]) -> Iterator[MadeTwice]:
    context = TaskContext(Store(str(folder)), None, torch.device("cpu"), dataset)
    samples = [[plan.members[0].spec, *islice(_sample(plan), N_MODELS)] for plan in plans]
    for pair in zip(*samples, strict=True):
        seconds, accuracy = [], []
        for spec in pair:
            with Stopwatch() as watch:
                make_model(context, spec)
            seconds.append(watch.seconds)
            accuracy.append(float(context.store.get("model", spec.id).info["accuracy"]))
        origin = spec.origin.attack if isinstance(spec.origin, Extracted) else "trained"
        made = MadeTwice(
            spec.architecture, spec.recipe.optimizer, origin, (seconds[0], seconds[1]), (accuracy[0], accuracy[1])
        )
        say(
            f"  {made.architecture} {made.optimizer} {origin}: {seconds[0]:.1f} s, {seconds[1]:.1f} s; "
            f"accuracy {accuracy[0]:.3f}, {accuracy[1]:.3f}"
        )
        yield made


def _sample(plan: Plan) -> Iterator[ModelSpec]:
    """Homologous and extracted models in turn, architectures turning fastest; without gates, which would retry."""
    by_role = {
        role: [m.spec for m in plan.members if m.role == role and not m.spec.modifications]
        for role in (Role.HOMOLOGOUS, Role.PIRACY)
    }
    for homologous, piracy in zip(by_role[Role.HOMOLOGOUS], by_role[Role.PIRACY], strict=False):
        yield replace(homologous, gate=None)
        yield replace(piracy, gate=None)
