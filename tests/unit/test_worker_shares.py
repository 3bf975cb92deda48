"""How many workers fit on a machine or cluster, and which share of a GPU each model needs."""

from dataclasses import replace

import pytest

from uapfp_dist.cluster.capacity import fits, shares
from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.cluster.spec_resources import GPU_SHARES, LARGE_SECONDS, SMALL_SECONDS, gpu_share, seconds_for
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.response_format import LABEL
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.modification_specs import Distill, Prune
from uapfp_dist.tasks.specs import (
    Checkpoint,
    DataSpec,
    Extracted,
    ModelSpec,
    Modified,
    ProbeSpec,
    Recipe,
    ResponseSpec,
    Trained,
    TrajectorySpec,
)

TWO_CPUS = ClusterResources(2, 0.0, elastic=False)
ONE_GPU = ClusterResources(8, 1.0, elastic=False)
THREE_GPUS = ClusterResources(32, 3.0, elastic=False)


@pytest.mark.parametrize(
    ("machine", "workers", "share", "words"),
    [
        (TWO_CPUS, 3, None, "at most 2 .*got 3"),
        (TWO_CPUS, None, 1.0, "gpus_per_worker: expected a machine with GPUs"),
        (ONE_GPU, 2, 1.0, "at most 1 .*got 2"),
        (ONE_GPU, 5, None, "at most 4 .*got 5"),
        (ONE_GPU, None, 2.0, "gpus_per_worker: expected at most the 1 GPUs"),
        (THREE_GPUS, None, 1.5, "gpus_per_worker: expected a share"),
        (THREE_GPUS, 7, 0.4, "at most 6 .*got 7"),
    ],
)
def test_a_machine_that_is_too_small(
    machine: ClusterResources, workers: int | None, share: float | None, words: str
) -> None:
    """Ray would wait for ever for what it cannot give; no GPU is cut in two (three of 0.4 do not fit on one)."""
    with pytest.raises(UserError, match=words):
        shares(machine, workers, share)


def test_a_cluster_that_grows_may_be_asked_for_what_it_does_not_have() -> None:
    """It has no GPU yet; its autoscaler sees what is asked for."""
    share = shares(ClusterResources(0, 0.0, elastic=True), 40, 0.25)
    assert share(model("A")) == 0.25
    with pytest.raises(UserError, match="gpus_per_worker"):
        shares(ClusterResources(0, 0.0, elastic=True), None, 1.5)


@pytest.mark.parametrize(
    ("cpus", "gpus", "share", "workers"),
    [(2, 0, 0.0, 2), (8, 1, 1.0, 1), (8, 1, 0.5, 2), (8, 1, 0.1, 8), (8, 1, 0.0, 8), (32, 3, 0.4, 6), (32, 3, 2.0, 1)],
)
def test_as_many_workers_as_fit(cpus: int, gpus: int, share: float, workers: int) -> None:
    assert fits({"CPU": cpus, "GPU": gpus}, share) == workers


DATA = DataSpec("digits", "0", 0, 0.5, (0.3, 0.3, 0.4))


def model(architecture: str, victim: ModelSpec | None = None) -> ModelSpec:
    """A model, stolen where there is a victim."""
    origin = Extracted(victim, "knockoff", LABEL, 10, 0, 1.0) if victim else Trained("victim_set")
    return ModelSpec(DATA, architecture, 8, Recipe("adam", 64, 100), origin, 0)


def test_large_nets_and_tiny_nets_get_the_right_share(digits_plan: Plan) -> None:
    """What counts is the largest net on the device: a tiny attacker queries a large victim."""
    tiny, large = model("A"), model("resnet18")
    assert gpu_share(tiny) == GPU_SHARES["A"] < gpu_share(large) == 0.5 < gpu_share(model("vit_b_16")) == 1.0
    assert gpu_share(model("A", large)) == 0.5
    assert gpu_share(model("B", tiny)) == GPU_SHARES["B"]
    assert gpu_share(model("residual", model("mlp"))) == gpu_share(tiny)
    probe = next(spec for spec in digits_plan.specs if isinstance(spec, ProbeSpec))
    assert gpu_share(probe) == GPU_SHARES["A"]
    assert gpu_share(replace(probe, victim=large)) == 0.5
    assert gpu_share(ResponseSpec(large, probe)) == 0.5
    assert gpu_share(ResponseSpec(tiny, replace(probe, victim=large))) == GPU_SHARES["A"]
    assert shares(ONE_GPU, None, None)(tiny) == GPU_SHARES["A"], "where there are GPUs"
    assert shares(TWO_CPUS, None, None)(tiny) == 0.0
    assert shares(ONE_GPU, None, 0.7)(large) == 0.7, "what the user sets goes first"


def derived(victim: ModelSpec) -> dict[str, Spec]:
    """Nets of architecture A that come from a model extracted from `victim`; its card compares each with the victim."""
    extracted = model("A", victim)
    pruned = replace(extracted, origin=Modified(extracted, Prune(0.5)))
    path = TrajectorySpec(extracted, (0.5, 0.9))
    kept = replace(extracted, origin=Checkpoint(path, 0.9))
    return {
        "pruned": pruned,
        "pruned twice": replace(pruned, origin=Modified(pruned, Prune(0.7))),
        "distilled": replace(pruned, architecture="B", origin=Modified(pruned, Distill())),
        "trajectory": path,
        "checkpoint": kept,
        "checkpoint, pruned": replace(kept, origin=Modified(kept, Prune(0.5))),
    }


@pytest.mark.parametrize("what", list(derived(model("A"))))
def test_the_victim_on_the_device_counts(what: str) -> None:
    """However many modifications ago it was extracted."""
    assert gpu_share(derived(model("resnet18"))[what]) == 0.5
    assert gpu_share(derived(model("E"))[what]) == GPU_SHARES["A"]
    assert seconds_for(derived(model("resnet18"))[what]) == LARGE_SECONDS
    assert seconds_for(derived(model("E"))[what]) == SMALL_SECONDS


def test_a_net_distilled_from_a_large_one_holds_it() -> None:
    teacher = model("vgg16")
    student = replace(model("A"), origin=Modified(teacher, Distill()))
    assert gpu_share(student) == 0.5
    assert gpu_share(replace(student, origin=Modified(model("mine.nets:make"), Distill()))) == 1.0
    assert seconds_for(model("mine.nets:make")) == LARGE_SECONDS


def test_shares_of_single_architectures() -> None:
    given = {"resnet18": 0.2, "A": 0.1}
    share = shares(ONE_GPU, 4, None, given)
    assert [share(model(name)) for name in ("A", "B", "resnet18", "vgg16")] == [0.1, 0.25, 0.2, 0.5]
    assert share(model("A", model("resnet18"))) == 0.2
    assert shares(ONE_GPU, 8, None, given)(model("A")) == 0.1, "eight CPUs; ten of them would share the GPU"
    assert shares(ClusterResources(0, 0.0, elastic=True), None, None, given)(model("B")) == 0.25, "GPUs are to come"


@pytest.mark.parametrize(
    ("machine", "workers", "given", "words"),
    [
        (TWO_CPUS, None, {"A": 0.1}, "gpu_shares.A: expected a machine with GPUs"),
        (ONE_GPU, None, {"vgg16": 2.0}, "gpu_shares.vgg16: expected at most the 1 GPUs"),
        (ONE_GPU, None, {"vgg16": 1.5}, "gpu_shares.vgg16: expected a share"),
        (ONE_GPU, 3, dict.fromkeys(GPU_SHARES, 0.5), "at most 2 .*got 3"),
    ],
)
def test_shares_that_cannot_be_had(
    machine: ClusterResources, workers: int | None, given: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        shares(machine, workers, None, given)
