"""Encoders in stacks: the same as one by one, whoever else is in the stack and however small memory makes it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints import encoder_fit
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.encoder_fit import EncoderTask, fit_tasks
from uapfp_dist.fingerprints.encoder_loss import LOSSES
from uapfp_dist.fingerprints.span import span_of
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import EncoderConfig

CONFIG = EncoderConfig(hidden=16, embedding=8, epochs=20)


def task(seed: str, n_models: int = 8, n_views: int = 5, dims: int = 60, rank: int | None = None) -> EncoderTask:
    """Two families of models; encoders that see all of them, all but two, all but two others, and all but three."""
    rng = torch_rng("task", seed)
    labels = torch.arange(n_models) % 2
    prints = torch.rand(2, 1, dims, generator=rng)[labels] + 0.3 * torch.rand(n_models, n_views, dims, generator=rng)
    if rank is not None:
        prints = prints @ torch.rand(dims, rank, generator=rng) @ torch.rand(rank, dims, generator=rng) / dims
    keep = torch.ones(4, n_models, dtype=torch.bool)
    keep[1, 2:4] = keep[2, 4:6] = keep[3, 5:8] = False
    return EncoderTask(prints, labels, keep, seed)


def double(one: EncoderTask) -> EncoderTask:
    return replace(one, fingerprints=one.fingerprints.double())


def one_by_one(one: EncoderTask, config: EncoderConfig) -> list[Tensor]:
    """The similarities of every encoder, each trained alone: Eq. 7 over the (B, B) matrix of the rows that it sees."""
    found = []
    for kept in one.keep:
        rng = torch_rng(one.seed, "encoder")
        flat, n_views = one.fingerprints.flatten(0, 1), one.fingerprints.shape[1]
        basis = span_of(flat, config.span)
        first, *rest = (
            ((torch.rand(*shape, generator=rng) * 2 - 1) * fan_in**-0.5).to(flat)
            for fan_in, *shape in (
                (flat.shape[1], flat.shape[1], config.hidden),
                (flat.shape[1], 1, config.hidden),
                (config.hidden, config.hidden, config.embedding),
                (config.hidden, 1, config.embedding),
            )
        )
        layers = [layer.requires_grad_() for layer in ((basis.T @ first).detach(), *rest)]
        coordinates, labels, sees = flat @ basis, one.labels.repeat_interleave(n_views), kept.repeat_interleave(n_views)
        optimizer = torch.optim.Adam(layers, lr=config.learning_rate)
        for _ in range(config.epochs):
            for batch in torch.randperm(len(flat), generator=rng).split(config.batch_size):
                rows = batch[sees[batch]]
                hidden = torch.relu(coordinates[rows] @ layers[0] + layers[1])
                optimizer.zero_grad()
                (eq_7(torch.relu(hidden @ layers[2] + layers[3]), labels[rows], config.tau) / len(rows)).backward()
                optimizer.step()
        own = torch.linalg.svd(coordinates[sees], full_matrices=False)
        directions = own.Vh[1e-5 * own.S[0] < own.S]
        w1, b1, w2, b2 = (layer.detach()[None] for layer in layers)
        stack = EncoderStack(basis, directions.T @ (directions @ w1[0])[None], b1, w2, b2)
        found.append(stack.similarity(one.fingerprints, one.fingerprints[0])[0])
    return found


def eq_7(z: Tensor, labels: Tensor, tau: float) -> Tensor:
    cosines = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T / tau
    oneself = torch.eye(len(z), dtype=torch.bool)
    positive = (labels[:, None] == labels) & ~oneself
    log_share = cosines - cosines.masked_fill(oneself, -torch.inf).logsumexp(1, keepdim=True)
    n = positive.sum(1)
    return -((log_share * positive).sum(1) / n.clamp_min(1))[n > 0].sum()


def similarities(tasks: Sequence[EncoderTask], config: EncoderConfig = CONFIG) -> list[Tensor]:
    stacks = fit_tasks(tasks, config)
    return [s.similarity(t.fingerprints, t.fingerprints[0]) for s, t in zip(stacks, tasks, strict=True)]


@pytest.mark.parametrize("batch_size", [512, 16], ids=["one batch", "several batches"])
@pytest.mark.parametrize("rank", [None, 9], ids=["independent", "dependent"])
def test_a_stack_is_what_one_by_one_comes_to(batch_size: int, rank: int | None) -> None:
    """To 1e-6, in double precision: in single precision forty steps of Adam make any rounding visible."""
    config = replace(CONFIG, batch_size=batch_size)
    tasks = [double(task(seed, rank=rank)) for seed in ("a", "b", "c")]
    for one, found in zip(tasks, similarities(tasks, config), strict=True):
        torch.testing.assert_close(found, torch.stack(one_by_one(one, config)), rtol=0, atol=1e-6)
        assert bool(found.isfinite().all())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [512, 16])
def test_who_else_is_in_the_stack_changes_no_bit_that_counts(loss: str, batch_size: int) -> None:
    """Tasks of several sizes and ranks, in single precision: fewer methods give the rows that remain alike."""
    config = replace(CONFIG, loss=loss, batch_size=batch_size)
    tasks = [task("a"), task("b", rank=7), task("c"), task("d", n_models=10), task("e", dims=20)]
    for one, found in zip(tasks, similarities(tasks, config), strict=True):
        torch.testing.assert_close(found, similarities([one], config)[0], rtol=0, atol=1e-6)


def refuse(most: int, error: Exception, sizes: list[int]) -> Any:
    """`_fit` where memory suffices for `most` encoders at a time."""
    fit = encoder_fit._fit

    def limited(stack: Any, config: EncoderConfig) -> Any:
        sizes.append(len(stack))
        if len(stack) > most:
            raise error
        return fit(stack, config)

    return limited


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_where_memory_is_short_fewer_are_trained_at_a_time(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, sizes = [task(seed) for seed in "abc"], list[int]()
    enough = similarities(tasks)
    monkeypatch.setattr(encoder_fit, "_fit", refuse(1, error, sizes))
    for found, expected in zip(similarities(tasks), enough, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert max(sizes) > 1
    assert sizes.count(1) == 12


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_too_little_memory_for_one_encoder_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_fit, "_fit", refuse(0, error, []))
    with pytest.raises(UserError, match="expected memory for one encoder at a time") as caught:
        similarities([task("a")])
    assert len(str(caught.value).splitlines()) == 1


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_fit, "_fit", refuse(0, RuntimeError("shapes differ"), []))
    with pytest.raises(RuntimeError, match="shapes differ"):
        similarities([task("a")])
