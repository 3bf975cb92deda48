"""Part `encoders` of the benchmark: fit and score encoders on synthetic responses, against a floor by arithmetic."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.concurrency import map_threads, own_cpus
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import ControlConfig, DataConfig, ModificationConfig, SiblingConfig, StudyConfig
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, PAPER
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.resamples import Resample, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import score_resamples
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import STOLEN_ROLES
from uapfp_dist.tasks.method_configs import EncoderConfig

N_IMAGES, N_CLASSES = 2000, 10
"""Unique images of all views, and classes."""
RESAMPLES = 10
MATRIX = 1024
"""Side of the matrices whose product measures the machine."""
SPEED_SECONDS = 2.0
"""For which the product is repeated."""


@dataclass(frozen=True)
class EncodersFloor:
    """Encoders of ten resamples of the paper's zoo, one perturbation, probabilities and labels."""

    suspects: int
    resamples: int
    encoders: int
    threads: int
    tera_flops: float
    """That training and scoring need at least, the basis apart: only the rows that an encoder sees, one product for the
    gradient of the symmetric matrix, no gradient of the inputs; the coordinates of all, and the embeddings of suspects.
    """
    traffic_gb: float
    """Numbers that they read and write at least once."""
    giga_flops_per_second: float
    """Of a product of large matrices, in as many threads, before and after."""
    floor_seconds: float
    """Wall time of the products at that speed."""
    seconds: float
    """Wall time of fitting and scoring, bases and all."""
    ratio: float
    cpu_ratio: float
    """The same ratio in CPU seconds, which other processes of the machine change little."""


def encoders_floor(say: Callable[[str], object]) -> EncodersFloor:
    """Measure it at the sizes of `fashion_mnist`: 11 models, 200 views of 100 points, five more folds a resample."""
    threads = own_cpus()
    plan = _plan()
    matrix, verdict, config = synthetic_matrix(plan), plan.config.verdict, plan.config.encoder
    drawn = [make_resample(matrix.members, i, verdict.n_train, verdict.n_calibrate, "0") for i in range(RESAMPLES)]
    encoders, flops, traffic = _arithmetic(matrix, drawn, config)
    speed, cpu_speed = _speed(threads)
    wall, cpu = time.perf_counter(), time.process_time()
    found = list(score_resamples(matrix, drawn, ("uap_paper",), config, "benchmark", threads))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    again, cpu_again = _speed(threads)
    speed, cpu_speed = (speed + again) / 2, (cpu_speed + cpu_again) / 2
    assert all(bool(one.scores.isfinite().all()) for scored in found for one in scored.methods["uap_paper"])
    result = EncodersFloor(
        suspects=len(matrix.members) - 1,
        resamples=RESAMPLES,
        encoders=encoders,
        threads=threads,
        tera_flops=flops / 1e12,
        traffic_gb=traffic / 1e9,
        giga_flops_per_second=speed / 1e9,
        floor_seconds=flops / speed,
        seconds=wall,
        ratio=wall * speed / flops,
        cpu_ratio=cpu * cpu_speed / flops,
    )
    say(
        f"encoders, {result.suspects} suspects, {RESAMPLES} resamples, {encoders} encoders in {threads} threads: "
        f"{result.tera_flops:.2f} TFLOP at {result.giga_flops_per_second:.0f} GFLOP/s are {result.floor_seconds:.1f} "
        f"s, measured {wall:.1f} s: ratio {result.ratio:.2f}, in CPU time {result.cpu_ratio:.2f}"
    )
    return result


def _plan() -> Plan:
    """The paper's zoo and controls, and nothing of real data but its name."""
    config = replace(
        preset("fashion_mnist"),
        data=DataConfig(),
        modifications=ModificationConfig(),
        studies=StudyConfig(),
        siblings=SiblingConfig(),
        controls=ControlConfig(),
    )
    return make_plan(config, 0, load("digits", None))


def synthetic_matrix(plan: Plan) -> ResponseMatrix:
    """Random responses; a stolen model's resemble the victim's."""
    rng = torch_rng("synthetic")
    fingerprint = plan.config.fingerprint
    views = torch.randint(N_IMAGES, (fingerprint.n_views, fingerprint.n_points), generator=rng)
    sizes = {CLEAN: N_IMAGES, PAPER: N_IMAGES, NATURAL: fingerprint.n_natural}
    victim = {key: torch.randn(n, N_CLASSES, generator=rng) for key, n in sizes.items()}

    def responses(stolen: bool) -> Responses:
        own = {key: torch.randn(of.shape, generator=rng) for key, of in victim.items()}
        return Responses({key: (3 * (own[key] + stolen * of)).softmax(1) for key, of in victim.items()})

    answers = tuple(responses(m.role in ("victim", *STOLEN_ROLES)) for m in plan.judged)
    return ResponseMatrix(
        members=plan.judged,
        responses=answers,
        views=views,
        gather={PAPER: views},
        n_test_views=fingerprint.n_test_views,
        natural_labels=answers[0].blocks[NATURAL].argmax(1),
        n_natural=fingerprint.n_natural,
        fractions=plan.config.uap.xi_fractions,
    )


def _arithmetic(
    matrix: ResponseMatrix, resamples: Sequence[Resample], config: EncoderConfig
) -> tuple[int, float, float]:
    """Encoders, operations of their products, and bytes that go through these."""
    n_views, n_points = matrix.views.shape
    dims = 2 * n_points * N_CLASSES
    encoders, flops, numbers = 0, 0.0, 0.0
    for resample in resamples:
        n = len(resample.training.piracy)
        every, fold = (1 + 2 * n) * n_views, (2 * n - 1) * n_views
        rank = min(every, dims, config.span)
        tested = len(matrix.members) * matrix.n_test_views
        flops += 2 * (every + tested) * dims * rank * len(matrix.formats)
        for rows in [every, *[fold] * n] * len(matrix.formats):
            steps = -(-every // config.batch_size)
            batch = rows / steps
            layers = batch * (2 * rank * config.hidden + 3 * config.hidden * config.embedding)
            pairs = 2 * batch**2 * config.embedding
            weights = config.hidden * (rank + config.embedding)
            flops += 2 * (layers + pairs) * steps * config.epochs
            flops += 2 * tested * config.hidden * (rank + config.embedding)
            numbers += (2 * batch * rank + 2 * batch**2 + 6 * weights) * steps * config.epochs
            encoders += 1
    return encoders, flops, 4 * numbers


def _speed(threads: int) -> tuple[float, float]:
    """Operations of a matrix product a second, of wall time and of CPU time (of one core)."""

    matrices = [torch.randn(MATRIX, MATRIX, generator=torch_rng("square", number)) for number in range(threads)]

    def multiply(matrix: Tensor) -> int:
        product, until, done = torch.empty_like(matrix), time.perf_counter() + SPEED_SECONDS, 0
        while time.perf_counter() < until:
            torch.mm(matrix, matrix, out=product)
            done += 1
        return done

    wall, cpu = time.perf_counter(), time.process_time()
    flops = sum(map_threads(multiply, matrices, threads)) * 2.0 * MATRIX**3
    return flops / (time.perf_counter() - wall), flops / (time.process_time() - cpu)
