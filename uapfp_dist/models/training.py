"""Training on data held as tensors on the device: a batch is an index slice, there is no data loader."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.acceleration import acceleration
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models.augment import shift_and_mirror
from uapfp_dist.models.batches import AHEAD, Batch, batches
from uapfp_dist.models.graphed_step import FEWEST, GraphedStep
from uapfp_dist.models.net import Net
from uapfp_dist.models.precision import autocast
from uapfp_dist.pixels import as_float
from uapfp_dist.tasks.specs import Recipe

# Peak learning rates at batch 128; scaled by the square root of the batch size (and by `rate_scale`, the net's own and
# the recipe's), warmed up over the first tenth of the steps and decayed linearly to zero.
PEAK_RATES = {"sgd": 0.05, "adam": 5e-3, "rmsprop": 3e-3}
WARM_UP = 0.1
CLIP = 1.0
"""Largest gradient norm: without it one SGD run in ten of the deeper nets never leaves chance."""
BATCH_SIZES = (64, 128, 256)
"""Table 1."""

AfterStep = Callable[[int], None]
"""Called with the number of steps done; may read the net, in training mode, but must leave net and generators alone."""


@dataclass(frozen=True)
class TrainingState:
    """A training in the middle: all that the rest of it depends on, but images and random numbers."""

    step: int
    """Steps done."""
    weights: dict[str, Tensor]
    """State dict of the net."""
    optimizer: dict[str, Tensor]
    """`<number of a parameter>/<name>` to what the optimizer remembers of it."""


class Trainer:
    """One net, one optimizer, one schedule; `run` may be called several times, as extraction attacks need it.

    The forward pass runs in the recipe's precision; weights stay float32.

    Args:
        net: trained in place, on its device.
        recipe: optimizer, batch size and the number of images seen, over which the learning rate schedule extends.
        rng: CPU generator for the order of the images and for augmentation.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, rng: torch.Generator) -> None:
        self.net = net
        self.recipe = recipe
        self.rng = rng
        self.total_steps = max(1, math.ceil(recipe.samples_seen / recipe.batch_size))
        self.step = 0
        self.last_batch: tuple[Tensor, Tensor] | None = None
        """Images and targets of the last step, for `repeat`."""
        self.device = next(net.parameters()).device
        self._faster = acceleration(self.device)
        self._rate = torch.zeros((), device=self.device) if self._faster.tensor_rate else None
        self.optimizer = make_optimizer(net, recipe.optimizer, self._rate)
        self.peak = PEAK_RATES[recipe.optimizer] * math.sqrt(recipe.batch_size / 128) * recipe.rate_scale
        if isinstance(net, Net):
            self.peak *= net.rate_scale.get(recipe.optimizer, 1.0)
        self._graphed = self._recording()

    def run(
        self,
        images: Tensor,
        targets: Tensor,
        until: float = 1.0,
        after_step: AfterStep | None = None,
    ) -> None:
        """Train until the share `until` of all steps is done.

        Args:
            images: (N, c, h, w) in [0, 1], or the same as uint8, on the net's device.
            targets: (N,) int64 labels or (N, C) probabilities.
            until: share of all steps.
            after_step: called after each step.

        Raises:
            UserError: a net with batch normalisation would get batches of a single image.
        """
        last = round(self.total_steps * until)
        self._refuse_single_images(len(images))
        self.net.train()
        for batch in self._batches(images, last - self.step):
            self._set_rate()
            chosen = images[batch.index]
            if batch.moves is not None:
                chosen = shift_and_mirror(chosen, batch.moves)
            self.last_batch = chosen, targets[batch.index]
            if self._graphed is None:
                self._plain_step(*self.last_batch)
            else:
                self._graphed(self._plain_step, *self.last_batch)
            self.step += 1
            if after_step is not None:
                after_step(self.step)
        self.net.eval()

    def repeat(self, images: Tensor, targets: Tensor) -> None:
        """A step after `resume`, on the batch that it had: the same one where the generator of dropout is the same."""
        self._set_rate()
        self._plain_step(images, targets)
        self.step += 1

    @property
    def is_recorded(self) -> bool:
        """Whether its step goes by a CUDA graph."""
        return self._graphed is not None and self._graphed.is_recorded

    def state(self) -> TrainingState:
        """Where it stands; the tensors are copies."""
        remembered = {
            f"{number}/{name}": value.detach().clone()
            for number, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }
        weights = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}
        return TrainingState(self.step, weights, remembered)

    def resume(self, state: TrainingState) -> None:
        """Go on from where a trainer of the same net and recipe stood; the generator stays this one's."""
        self.net.load_state_dict(state.weights)
        remembered: dict[int, dict[str, Tensor]] = {}
        parameters = list(self.net.parameters())
        for key, tensor in state.optimizer.items():
            number, name = key.split("/")
            remembered.setdefault(int(number), {})[name] = _laid_out_as(parameters[int(number)], tensor)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": remembered, "param_groups": groups})
        for group in self.optimizer.param_groups if self._rate is not None else ():
            group["lr"] = self._rate  # loading made a copy of it
        self.step = state.step
        self._graphed = self._recording()  # a recorded step works on what the optimizer remembered before

    def _batches(self, images: Tensor, n_steps: int) -> Iterator[Batch]:
        size = self.recipe.batch_size
        augmented = (images.shape[2], images.shape[3]) if self.recipe.augment else None
        ahead = AHEAD if self._faster.device_order else 1
        return batches(len(images), n_steps, size, self.rng, images.device, augmented, ahead)

    def _recording(self) -> GraphedStep | None:
        small = isinstance(self.net, Net) and self.net.small
        wanted = self._faster.graph_large or (self._faster.cuda_graph and small)
        recordable = self.device.type == "cuda" and self._rate is not None and self.total_steps >= FEWEST
        return GraphedStep() if wanted and recordable else None

    def _plain_step(self, images: Tensor, targets: Tensor) -> None:
        """On a batch as it lies on the device; nothing here waits for it."""
        with autocast(images.device, self.recipe.precision):
            logits = self.net(as_float(images)).float()
        loss = F.cross_entropy(logits, targets)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP, foreach=True)
        self.optimizer.step()

    def _set_rate(self) -> None:
        done = (self.step + 1) / self.total_steps
        rate = self.peak * min(done / WARM_UP, (1.0 - done) / (1.0 - WARM_UP) + 1e-3)
        if self._rate is not None:
            self._rate.fill_(rate)  # a launch, with the number as its argument: nothing is copied from the host
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _refuse_single_images(self, n_images: int) -> None:
        # A batch never has fewer images than these two numbers allow: permutations are joined, no remainder is dropped.
        smallest = min(n_images, self.recipe.batch_size)
        if smallest < 2 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.net.modules()):
            raise UserError(
                f"training: expected batches of at least 2 images for a net with batch normalisation, got {n_images} "
                f"images in batches of {self.recipe.batch_size}; give more images or a larger batch"
            )


def make_optimizer(net: nn.Module, name: str, rate: Tensor | None = None) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or RMSprop (Table 1); the learning rate is set at each step.

    Args:
        net: whose parameters it steps.
        name: of PEAK_RATES.
        rate: 0-dimensional, on the net's device: in place of a number, so that a step may be recorded.
    """
    parameters, recorded = list(net.parameters()), rate is not None and rate.device.type == "cuda"
    lr: float | Tensor = 1.0 if rate is None else rate
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)
    if name == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=lr, fused=True, capturable=recorded)
    elif name == "rmsprop":
        optimizer = torch.optim.RMSprop(parameters, lr=lr, foreach=True, capturable=recorded)
    else:
        raise unknown_name("optimizer", name, PEAK_RATES)
    # torch would warn of a capturable optimizer's first steps, which are not recorded
    optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]
    return optimizer


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A copy in the order that the parameter has in memory, which a fused step takes for granted."""
    if tensor.shape != parameter.shape:  # a number of steps
        return tensor.clone()
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


def fit(net: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe, rng: torch.Generator) -> int:
    """Train `net` on all of `images` to the end of the recipe; returns the number of steps.

    Targets are (N,) labels or (N, C) probabilities.
    """
    trainer = Trainer(net, recipe, rng)
    trainer.run(images, targets)
    return trainer.step
