"""Many encoders are trained together, as stacks: few large matrix products instead of many small ones.

There is one per resample of the zoo, per method, per format, and five more for each to choose between formats without
looking at a calibration or test model. Encoders of a stack see equally many fingerprints, each its own: what an encoder
may not see is not computed for it. None feels the others.

Two plain losses stand beside the contrastive one, for the comparison in the paper's supplement. Only the head that the
loss needs is added; the encoder starts from the same weights, sees the same batches and is compared by the same cosine.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.encoder import EncoderStack, encode
from uapfp_dist.fingerprints.encoder_loss import LOSSES, membership, plain_loss, supcon_loss
from uapfp_dist.fingerprints.span import span_of, within_span
from uapfp_dist.messages import one_line
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import EncoderConfig

STACK = {"cpu": 2**21, "cuda": 2**29}
"""Kind of device to the numbers that one step of a stack may hold: a few caches full, and a share of a GPU's memory."""


@dataclass(frozen=True)
class EncoderTask:
    """S encoders of the same fingerprints, each trained on the models it may see."""

    fingerprints: Tensor
    """(M, V, D) of the training models, the victim among them."""
    labels: Tensor
    """(M,) 0 for the victim and its piracy, 1 for homologous models."""
    keep: Tensor
    """(S, M) bool: which models encoder s is trained on."""
    seed: str
    """Names the randomness; all S start from the same weights and see the same batches."""


def fit_encoders(
    fingerprints: Tensor,
    labels: Tensor,
    keep: Tensor,
    config: EncoderConfig,
    seed: str,
    device: torch.device | str = "cpu",
) -> EncoderStack:
    """`fit_tasks` of one task."""
    return fit_tasks([EncoderTask(fingerprints, labels, keep, seed)], config, device)[0]


def fit_tasks(
    tasks: Iterable[EncoderTask], config: EncoderConfig, device: torch.device | str = "cpu"
) -> list[EncoderStack]:
    """The encoders of every task, trained together with those of the others; fewer at a time where memory is short.

    Args:
        tasks: of any sizes; none changes another's result. They are taken one by one, so that the fingerprints of one
            alone need be in memory.
        config: how they are trained.
        device: where; the result is on the CPU.

    Raises:
        UserError: an unknown loss, too little memory for a single encoder, or weights that are not finite.
    """
    if config.loss not in LOSSES:
        raise unknown_name("encoder loss", config.loss, LOSSES)
    try:
        found = _fit_tasks(tasks, config, torch.device(device))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"encoder: expected memory for one encoder at a time ({torch.device(device).type}), it ran out "
            f"({one_line(error, 80)}); lower fingerprint.n_views or encoder.batch_size, or use a larger node",
            argument="encoder.batch_size",
        ) from error
    if not all(bool(weights.isfinite().all()) for stack in found for weights in vars(stack).values()):
        # They would find no model similar to the victim, stolen or not: NaN is no cosine.
        raise UserError(
            f"encoder: expected finite weights after training, got NaN or infinity at encoder.tau {config.tau:g} and "
            f"encoder.learning_rate {config.learning_rate:g}; raise the one or lower the other",
            argument="encoder.tau",
        )
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of this process or of a GPU: torch says of its own CPU memory only in words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _fit_tasks(tasks: Iterable[EncoderTask], config: EncoderConfig, device: torch.device) -> list[EncoderStack]:
    by_task = list(map(partial(_learners, config=config, device=device), tasks))  # none is held while the next is made
    learners = [learner for those in by_task for learner in those]
    stacks, layers = _stacks(learners, config, device), dict[int, list[Tensor]]()
    while stacks:
        stack = stacks.pop()
        try:
            fitted = _fit([learners[i] for i in stack], config)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or len(stack) == 1:
                raise
            middle = len(stack) // 2
            stacks += [stack[:middle], stack[middle:]]
        else:
            layers |= dict(zip(stack, fitted, strict=True))
    done = iter([_within_own_span(learner, layers[i], config.span) for i, learner in enumerate(learners)])
    found = []
    for those in by_task:
        parts = zip(*(next(done) for _ in those), strict=True)
        found.append(EncoderStack(those[0].basis.cpu(), *(torch.stack(part).cpu() for part in parts)))
    return found


@dataclass(frozen=True)
class _Learner:
    """One encoder to be trained."""

    basis: Tensor
    """(D, R)"""
    coordinates: Tensor
    """(B, R) of all fingerprints of its task."""
    labels: Tensor
    """(B,)"""
    keep: Tensor
    """(B,) bool: those that it may see."""
    steps: Sequence[Tensor]
    """Rows of every step, of those that it may see."""
    sizes: tuple[int, ...]
    """How many rows a step has room for: what encoders of its task with equally many fingerprints need, whoever else is
    in the stack, so that sums are rounded alike."""
    encoder: list[Tensor]
    """Initial weights: (R, H), (1, H), (H, E), (1, E)."""
    head: list[Tensor]
    """Those of what the loss needs beside the encoder: nothing, a classifier, or the encoder's mirror image."""


def _learners(task: EncoderTask, config: EncoderConfig, device: torch.device) -> list[_Learner]:
    rng = torch_rng(task.seed, "encoder")
    flat, n_views = task.fingerprints.flatten(0, 1).to(device), task.fingerprints.shape[1]
    basis = span_of(flat, config.span)
    encoder, head = _initial(flat, basis, config, rng), _initial_head(flat, basis, config, rng)
    order = _order(len(flat), config, rng)
    keep = task.keep.repeat_interleave(n_views, dim=1)
    kept = keep.sum(1).tolist()
    steps = [_visible(order, own) for own in keep]
    sizes = {n: _sizes([seen for seen, m in zip(steps, kept, strict=True) if m == n]) for n in set(kept)}
    shared = (basis, flat @ basis, task.labels.repeat_interleave(n_views).to(device))
    return [
        _Learner(*shared, own.to(device), [rows.to(device) for rows in seen], sizes[n], encoder, head)
        for own, seen, n in zip(keep, steps, kept, strict=True)
    ]


def _order(n: int, config: EncoderConfig, rng: torch.Generator) -> list[Tensor]:
    """The rows of every step; a sum over all of them has no order."""
    if n <= config.batch_size:
        return [torch.arange(n)] * config.epochs
    return [rows for _ in range(config.epochs) for rows in torch.randperm(n, generator=rng).split(config.batch_size)]


def _visible(order: Sequence[Tensor], keep: Tensor) -> list[Tensor]:
    """Of every step the rows that are kept; equal steps are one tensor."""
    seen = {id(rows): rows[keep[rows]] for rows in order}
    return [seen[id(rows)] for rows in order]


def _sizes(steps: Sequence[Sequence[Tensor]]) -> tuple[int, ...]:
    """The most rows that one of several encoders sees in each step."""
    return tuple(max(1, *map(len, rows)) for rows in zip(*steps, strict=True))


def _stacks(learners: Sequence[_Learner], config: EncoderConfig, device: torch.device) -> list[list[int]]:
    """Who are trained together: those of equal sizes, as many as a step has room for."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, learner in enumerate(learners):
        alike.setdefault((learner.coordinates.shape, learner.sizes), []).append(i)
    stacks = []
    for group in alike.values():
        rows, rank = max(learners[group[0]].sizes, default=1), learners[group[0]].coordinates.shape[1]
        size = max(1, STACK[device.type] // (rows * (rank + 2 * rows + 4 * config.hidden + 8 * config.embedding)))
        stacks += [group[at : at + size] for at in range(0, len(group), size)]
    return stacks


def _within_own_span(learner: _Learner, layers: list[Tensor], most: int) -> list[Tensor]:
    """The layers without the directions that only models left out of the training have.

    There the weights are still the random initial ones; a suspect has no such component, so a left-out model must not.
    """
    w1, *rest = layers
    seen = learner.coordinates[learner.keep]
    return [w1 if len(seen) == len(learner.keep) else within_span(w1, seen, most), *rest]


@dataclass(frozen=True)
class _Batch:
    """What a stack learns from in one step."""

    coordinates: Tensor
    """(S, B, R)"""
    labels: Tensor
    """(S, B)"""
    present: Tensor
    """(S, B) bool: False where an encoder has fewer rows."""
    classes: Tensor
    """(S, B, K): `membership`."""


def _batches(stack: Sequence[_Learner]) -> Iterator[_Batch]:
    """What they learn from, step by step."""
    last = None
    for size, *rows in zip(stack[0].sizes, *(learner.steps for learner in stack), strict=True):
        if rows[0] is not last:  # else every step has all rows
            batch, last = _batch(stack, rows, size), rows[0]
        yield batch


def _batch(stack: Sequence[_Learner], rows: Sequence[Tensor], size: int) -> _Batch:
    coordinates = stack[0].coordinates.new_empty(len(stack), size, stack[0].coordinates.shape[1])
    labels, present = rows[0].new_zeros(2, len(stack), size)
    for s, (learner, own) in enumerate(zip(stack, rows, strict=True)):
        torch.index_select(learner.coordinates, 0, own, out=coordinates[s, : len(own)])
        coordinates[s, len(own) :] = 0.0
        labels[s, : len(own)] = learner.labels[own]
        present[s, : len(own)] = 1
    return _Batch(coordinates, labels, present.bool(), membership(coordinates, labels, present))


def _fit(stack: Sequence[_Learner], config: EncoderConfig) -> list[list[Tensor]]:
    """The layers of every encoder of a stack."""
    layers = [torch.stack(parts).requires_grad_() for parts in zip(*(one.encoder for one in stack), strict=True)]
    head = [torch.stack(parts).requires_grad_() for parts in zip(*(one.head for one in stack), strict=True)]
    optimizer = torch.optim.Adam([*layers, *head], lr=config.learning_rate, fused=True)
    for batch in _batches(stack):
        z = encode(batch.coordinates, layers)
        if config.loss == "supcon":
            loss = supcon_loss(z, batch.classes, config.tau)
        else:
            loss = (plain_loss(z, head, batch.labels, batch.coordinates) * batch.present).sum(1)
        optimizer.zero_grad()
        loss.backward((1.0 / batch.present.sum(1).clamp_min(1)).to(loss))
        optimizer.step()
    return [[layer[s].detach() for layer in layers] for s in range(len(stack))]


def _initial(flat: Tensor, basis: Tensor, config: EncoderConfig, rng: torch.Generator) -> list[Tensor]:
    """torch's default for linear layers of D inputs, the first one seen from within the span."""
    dims = flat.shape[1]
    layers = [
        _uniform(rng, dims, dims, config.hidden),
        _uniform(rng, dims, 1, config.hidden),
        _uniform(rng, config.hidden, config.hidden, config.embedding),
        _uniform(rng, config.hidden, 1, config.embedding),
    ]
    first, *rest = (layer.to(flat) for layer in layers)
    return [basis.T @ first, *rest]


def _initial_head(flat: Tensor, basis: Tensor, config: EncoderConfig, rng: torch.Generator) -> list[Tensor]:
    """Likewise what the loss needs beside the encoder."""
    widths = {
        "supcon": [],
        "cross_entropy": [config.embedding, 2],
        "autoencoder": [config.embedding, config.hidden, basis.shape[1]],
    }[config.loss]
    return [_uniform(rng, a, rows, out).to(flat) for a, out in pairwise(widths) for rows in (a, 1)]


def _uniform(rng: torch.Generator, fan_in: int, *shape: int) -> Tensor:
    return (torch.rand(*shape, generator=rng) * 2 - 1) * (1.0 / fan_in) ** 0.5
