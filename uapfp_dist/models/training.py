"""Training on data held as tensors on the device: a batch is an index slice, there is no data loader."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models.augment import shift_and_mirror
from uapfp_dist.models.net import Net
from uapfp_dist.models.precision import autocast
from uapfp_dist.tasks.specs import Recipe

# Peak learning rates at batch 128; scaled by the square root of the batch size (and the net's own `rate_scale`), warmed
# up over the first tenth of the steps and decayed linearly to zero.
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
        self.optimizer = make_optimizer(net, recipe.optimizer)
        self.peak = PEAK_RATES[recipe.optimizer] * math.sqrt(recipe.batch_size / 128)
        if isinstance(net, Net):
            self.peak *= net.rate_scale.get(recipe.optimizer, 1.0)

    def run(
        self,
        images: Tensor,
        targets: Tensor,
        until: float = 1.0,
        after_step: AfterStep | None = None,
    ) -> None:
        """Train until the share `until` of all steps is done.

        Args:
            images: (N, c, h, w) in [0, 1], on the net's device.
            targets: (N,) int64 labels or (N, C) probabilities.
            until: share of all steps.
            after_step: called after each step.

        Raises:
            UserError: a net with batch normalisation would get batches of a single image.
        """
        last = round(self.total_steps * until)
        order = torch.empty(0, dtype=torch.long)
        self._refuse_single_images(len(images))
        self.net.train()
        while self.step < last:
            if len(order) < self.recipe.batch_size:
                order = torch.cat([order, torch.randperm(len(images), generator=self.rng)])
            batch, order = order[: self.recipe.batch_size], order[self.recipe.batch_size :]
            batch = batch.to(images.device)
            self._set_rate()
            loss = F.cross_entropy(self._logits(images[batch]), targets[batch])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), CLIP, foreach=True)
            self.optimizer.step()
            self.step += 1
            if after_step is not None:
                after_step(self.step)
        self.net.eval()

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
        for key, tensor in state.optimizer.items():
            number, name = key.split("/")
            remembered.setdefault(int(number), {})[name] = tensor.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": remembered, "param_groups": groups})
        self.step = state.step

    def _logits(self, images: Tensor) -> Tensor:
        if self.recipe.augment:
            images = shift_and_mirror(images, self.rng)
        with autocast(images.device, self.recipe.precision):
            return self.net(images).float()

    def _set_rate(self) -> None:
        done = (self.step + 1) / self.total_steps
        scale = min(done / WARM_UP, (1.0 - done) / (1.0 - WARM_UP) + 1e-3)
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * scale

    def _refuse_single_images(self, n_images: int) -> None:
        # A batch never has fewer images than these two numbers allow: permutations are joined, no remainder is dropped.
        smallest = min(n_images, self.recipe.batch_size)
        if smallest < 2 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.net.modules()):
            raise UserError(
                f"training: expected batches of at least 2 images for a net with batch normalisation, got {n_images} "
                f"images in batches of {self.recipe.batch_size}; give more images or a larger batch"
            )


def make_optimizer(net: nn.Module, name: str) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or RMSprop (Table 1); the learning rate is set at each step."""
    parameters = list(net.parameters())
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=1.0, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=1.0, fused=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=1.0, foreach=True)
    raise unknown_name("optimizer", name, PEAK_RATES)


def fit(net: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe, rng: torch.Generator) -> int:
    """Train `net` on all of `images` to the end of the recipe; returns the number of steps.

    Targets are (N,) labels or (N, C) probabilities.
    """
    trainer = Trainer(net, recipe, rng)
    trainer.run(images, targets)
    return trainer.step
