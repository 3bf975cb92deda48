"""CloudLeak (Yu et al., NDSS 2020): adversarial examples on the substitute, least confident first."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.models.net import Net
from uapfp_dist.pass_size import in_passes, pass_size


@dataclass(frozen=True, kw_only=True)
class _CloudLeak(Attack):
    """Moves natural images along gradients of the substitute; sends those of which it is then least confident."""

    candidates: int = 2
    """Images crafted per image sent."""
    steps: int = 5
    step_share: float = 0.05
    """Length of a step, as a share of the image's l2 norm."""

    def craft(
        self, substitute: Net, pool: Tensor, queried: Tensor, labels: Tensor, n: int, rng: torch.Generator
    ) -> Tensor:
        """Least confident first; an image of the pool is used again when candidates x n exceeds it."""
        start = _sample(pool, self.candidates * n, rng)
        crafted = self._move(substitute, start, pool, rng)
        return _least_confident(substitute, crafted, n)

    @abstractmethod
    def _move(self, substitute: Net, start: Tensor, pool: Tensor, rng: torch.Generator) -> Tensor:
        """The adversarial examples of `start` (M, c, h, w), as many."""


@dataclass(frozen=True, kw_only=True)
class CloudLeak(_CloudLeak):
    """The margin variant: across the nearest boundary of the substitute."""

    name: ClassVar[str] = "cloudleak"

    def _move(self, substitute: Net, start: Tensor, pool: Tensor, rng: torch.Generator) -> Tensor:
        return torch.cat([self._cross_boundary(substitute, part) for part in in_passes(start)])

    def _cross_boundary(self, substitute: Net, images: Tensor) -> Tensor:
        """Normalised gradient steps that shrink the margin between the first label and the runner-up to below 0."""
        step = self.step_share * images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        with torch.no_grad():
            label = substitute(images).argmax(1, keepdim=True)
        x = images.detach()
        for _ in range(self.steps):
            x = x.requires_grad_()
            logits = substitute(x)
            rival = logits.scatter(1, label, float("-inf")).max(1).values
            margin = logits.gather(1, label)[:, 0] - rival
            (gradient,) = torch.autograd.grad(margin.sum(), x)
            inside = (margin > 0).float().view(-1, 1, 1, 1)
            x = (x.detach() - step * inside * _direction(gradient)).clamp(0.0, 1.0)
        return x.detach()


@dataclass(frozen=True, kw_only=True)
class CloudLeakFeatures(_CloudLeak):
    """FeatureFool: penultimate features approach those of a guide, a natural image of another predicted label.

    Any image is a guide while the substitute gives all of them the same label.
    """

    name: ClassVar[str] = "cloudleak_features"
    guides: int = 500
    """Natural images drawn per round, from which the guides are taken."""
    penalty: float = 4.0
    """Weight of the pixel distance (relative to the image) against the feature distance (relative to the start)."""

    def _move(self, substitute: Net, start: Tensor, pool: Tensor, rng: torch.Generator) -> Tensor:
        guides = _sample(pool, min(self.guides, len(pool)), rng)
        chosen = of_another_class(_labels(substitute, start), _labels(substitute, guides), rng).to(pool.device)
        parts = zip(in_passes(start), chosen.split(pass_size(start)), strict=True)
        return torch.cat([self.approach(substitute, part, guides[guide]) for part, guide in parts])

    def approach(self, substitute: Net, images: Tensor, guides: Tensor) -> Tensor:
        """Normalised gradient steps down |f(x) - f(g)|^2 / |f(image) - f(g)|^2 + penalty |x - image|^2 / |image|^2.

        f: penultimate features; images and their guides g (B, c, h, w).
        """
        with torch.no_grad():
            goal = substitute.features(guides)
            apart = (substitute.features(images) - goal).square().sum(1).clamp_min(1e-12)
        energy = images.flatten(1).square().sum(1).clamp_min(1e-12)
        step = self.step_share * energy.sqrt().view(-1, 1, 1, 1)
        x = images.detach()
        for _ in range(self.steps):
            x = x.requires_grad_()
            in_features = (substitute.features(x) - goal).square().sum(1) / apart
            in_pixels = (x - images).flatten(1).square().sum(1) / energy
            (gradient,) = torch.autograd.grad((in_features + self.penalty * in_pixels).sum(), x)
            x = (x.detach() - step * _direction(gradient)).clamp(0.0, 1.0)
        return x.detach()


def _sample(pool: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """`n` images of the pool, each used again only when all others were."""
    permutations = [torch.randperm(len(pool), generator=rng) for _ in range(-(-n // len(pool)))]
    return pool[torch.cat(permutations)[:n].to(pool.device)]


@torch.no_grad()
def _labels(net: Net, images: Tensor) -> Tensor:
    return torch.cat([net(part).argmax(1).cpu() for part in in_passes(images)])


@torch.no_grad()
def _least_confident(net: Net, images: Tensor, n: int) -> Tensor:
    parts = [net(part).softmax(1).max(1).values for part in in_passes(images)]
    return images[torch.cat(parts).argsort(stable=True)[:n]]


def _direction(gradient: Tensor) -> Tensor:
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def of_another_class(labels: Tensor, guide_labels: Tensor, rng: torch.Generator) -> Tensor:
    """For each of `labels` (B,) an index, uniform at random, of a guide with another label; of any if there is none."""
    chosen = torch.empty(len(labels), dtype=torch.long)
    for label in labels.unique():
        others = (guide_labels != label).nonzero()[:, 0]
        if len(others) == 0:
            others = torch.arange(len(guide_labels))
        mine = labels == label
        chosen[mine] = others[torch.randint(len(others), (int(mine.sum()),), generator=rng)]
    return chosen
