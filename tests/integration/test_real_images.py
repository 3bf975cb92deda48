"""The whole pipeline on real CIFAR-10 and TinyImageNet, at the smallest size that goes every way a large one goes."""

import math
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from system import run_here

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.schema import Config, DataConfig, VerdictConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import FingerprintConfig, UapConfig
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tracking.tracker import NullTracker

FOLDERS = {"cifar10": "cifar10", "tiny_imagenet": "tiny-imagenet-200"}


def images(name: str) -> Path:
    """Where the real images lie; skips where they do not."""
    root = os.environ.get("UAPFP_DATA")
    if not root or not (Path(root) / FOLDERS[name]).is_dir():
        pytest.skip(f"set UAPFP_DATA to a folder with {FOLDERS[name]} to run this on real images")
    return Path(root)


def smallest(data: DataConfig, held_out: float = 0.01, **zoo: Any) -> Config:
    """Two piracy models, three homologous ones, one of another victim; hardly trained.

    Args:
        held_out: share of the images outside D that PROBE and EVAL have each.
    """
    base = Config()
    return replace(
        base,
        data=replace(data, outside_shares=(held_out, 1 - 2 * held_out, held_out)),
        zoo=replace(
            base.zoo,
            n_piracy=2,
            n_homologous=3,
            n_same_data=0,
            n_soft_piracy=0,
            n_other_piracy=(1,),
            homologous_margin=1.0,
            piracy_margin=1.0,
            **zoo,
        ),
        extraction=replace(base.extraction, budget=zoo["epochs"], rounds=1),
        uap=UapConfig(xi_grid=(0.3,), xi_fractions=(0.5,), n_images=8, passes=1, n_uaps=2),
        fingerprint=FingerprintConfig(
            n_points=3, n_views=2, n_test_views=2, n_candidates=200, n_natural=10, max_natural=20
        ),
        encoder=replace(base.encoder, epochs=2),
        verdict=VerdictConfig(n_train=1, n_calibrate=1, n_resamples=1, alpha=0.5),
    )


def evaluated(config: Config, root: Path, storage: Path) -> tuple[Plan, EvaluationReport]:
    """The report of `config`, and its plan."""
    check(config)
    plan = make_plan(config, 0, load(config.data.name, root, config.data.n_classes))
    store = Store(str(storage))
    context = TaskContext(store, root, torch.device("cpu"))
    return plan, run_here(plan, store, SerialPool(lambda spec: perform_task(context, spec))).body


@pytest.mark.heavy
def test_cifar10_with_torchvisions_nets(tmp_path: Path) -> None:
    """A ResNet18 victim, VGG16 and GoogLeNet as piracy and as homologous models: steal, ask, judge."""
    config = smallest(
        DataConfig(name="cifar10"),
        held_out=0.004,
        architectures=("vgg16", "googlenet"),
        victim_architecture="resnet18",
        optimizers=("sgd",),
        epochs=0.002,
        augment=True,
    )
    plan, body = evaluated(config, images("cifar10"), tmp_path)
    assert body.failures == ()
    kinds = {(m.role, m.spec.architecture) for m in plan.members}
    assert {(role, net) for role in ("piracy", "homologous") for net in ("vgg16", "googlenet")} <= kinds
    assert {"piracy", "homologous"} <= {v.role for v in body.verdicts}
    assert all(math.isfinite(v.similarity) for v in body.verdicts)


@pytest.mark.slow
def test_twenty_classes_of_tinyimagenet(tmp_path: Path) -> None:
    """64x64 images in colour; the labels of the part are its own."""
    data = DataConfig(name="tiny_imagenet", n_classes=20)
    plan, body = evaluated(smallest(data, width=4, epochs=1.0), images("tiny_imagenet"), tmp_path)
    assert body.failures == ()
    assert all(math.isfinite(v.similarity) for v in body.verdicts)
    answers = Store(str(tmp_path)).get("answers", plan.response(plan.members[0]).id)
    assert answers.tensors["clean"].shape[1] == 20


@pytest.mark.heavy
def test_fingerprints_of_two_hundred_classes_fit_into_memory(tmp_path: Path) -> None:
    """100 points x 200 classes, clean and perturbed: 40,000 numbers a fingerprint."""
    config = smallest(DataConfig(name="tiny_imagenet"), width=4, epochs=0.05)
    config = replace(
        config,
        fingerprint=replace(config.fingerprint, n_points=100, n_views=20, n_test_views=5),
        verdict=replace(config.verdict, methods=("uap", "uap_paper", "clean", "sac", "weighted_errors")),
    )
    plan, body = evaluated(config, images("tiny_imagenet"), tmp_path)
    assert body.failures == ()
    matrix, *_ = Evaluator(plan, Store(str(tmp_path)), NullTracker()).matrix()
    assert matrix.fingerprints([0, 1], PAPER, PROBABILITIES).shape == (2, 20, 40_000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert peak < 16, f"{peak:.1f} GiB"
