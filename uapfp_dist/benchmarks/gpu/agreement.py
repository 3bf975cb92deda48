"""Part `agreement`: the same work on the CPU and on the GPU, and how far apart the results are."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.data import Dataset
from uapfp_dist.fingerprints.encoder_fit import fit_encoders
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import Trainer, fit
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import fooling_rate, uap_sgd
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.method_configs import EncoderConfig
from uapfp_dist.tasks.modification_specs import Int8
from uapfp_dist.tasks.specs import Recipe
from uapfp_dist.verification.judging.suspect_scores import encoder_of, fingerprints, similarities

CPU = torch.device("cpu")
CHECKPOINTS = (1, 4)
"""Steps of a training after which the weights are compared: later they go ways of their own, on any two machines."""


@dataclass(frozen=True)
class Agreement:
    """The same on both devices."""

    cpu: float
    """A number that sums the work up: an accuracy, a fooling rate, a mean norm, a mean score."""
    gpu: float
    largest: float
    """The largest difference between single numbers of both."""
    equal: float
    """Share of labels that are equal."""


@dataclass(frozen=True)
class TrainingAgreement:
    """One training on both devices."""

    weights: dict[str, float]
    """Number of steps to the norm of the difference of the weights, relative to that of the weights."""
    cpu_accuracy: float
    gpu_accuracy: float
    """On held-out images, after all steps."""
    equal: float
    """Share of held-out images to which both nets give one label."""


def planned(settings: Settings) -> list[str]:
    """Names of all measurements."""
    return list(_measurements(_Work(settings)))


def measure(settings: Settings, notes: Notes) -> None:
    """What is cheap on the CPU first."""
    for name, take in _measurements(_Work(settings)).items():
        notes.take(name, take)


def _measurements(work: "_Work") -> dict[str, Callable[[], object]]:
    small, large = work.settings.small_nets, work.settings.large_nets
    return {
        **{f"answers {name}": partial(work.answers, name) for name in small + large},
        **{f"answers {name} without TF32": partial(work.answers, name, tf32=False) for name in (large or small)[:1]},
        f"training {small[0]}": partial(work.training, small[0]),
        "DeepFool": work.deepfool,
        "UAP": work.uap,
        "encoder and kit scores": work.encoder,
        "INT8": work.int8,
        **{f"training {name}": partial(work.training, name) for name in (*small[1:], *large[:1])},
    }


class _Work:
    """The images, and a victim trained on the CPU."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, settings.torch_device

    @cached_property
    def dataset(self) -> Dataset:
        """All images."""
        return self.settings.images()

    @cached_property
    def order(self) -> Tensor:
        """Indices of images, at random."""
        return torch.randperm(len(self.dataset.labels), generator=torch_rng("order"))

    @cached_property
    def own(self) -> tuple[Tensor, Tensor]:
        """Images and labels to train on."""
        index = self.order[: self.settings.size(4000, 300)]
        return self.dataset.pixels(index), self.dataset.labels[index]

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """Others."""
        index = self.order[-self.settings.size(1000, 60) :]
        return self.dataset.pixels(index), self.dataset.labels[index]

    @cached_property
    def victim(self) -> Net:
        """On the CPU."""
        return self._trained("A", CPU, self.settings.size(400, 20))

    def on_both(self, net: Net) -> tuple[Net, Net]:
        """The same weights on the CPU and on the other device."""
        return net.to(CPU), copy.deepcopy(net).to(self.device)

    def _trained(self, name: str, device: torch.device, steps: int) -> Net:
        with seeded(1, device):
            net = self.settings.net(name, self.dataset, device, self.own[0])
            images, labels = (tensor.to(device) for tensor in self.own)
            fit(net, images, labels, Recipe("adam", 64, 64 * steps), torch_rng("order"))
        return net

    def answers(self, name: str, *, tf32: bool = True) -> Agreement:
        """Of one net to held-out images."""
        net = self.settings.net(name, self.dataset, CPU, self.own[0])
        images = self.held_out[0][: 100 if name in self.settings.large_nets else None]
        with _tf32(tf32):
            cpu, gpu = (predict_probabilities(one, images) for one in self.on_both(net))
        return _compare(cpu, gpu)

    def training(self, name: str) -> TrainingAgreement:
        """The same batches from the same weights."""
        steps = self.settings.size(12 if name in self.settings.large_nets else 300, 12)
        weights: list[dict[int, Tensor]] = []
        answers = []
        for device in (CPU, self.device):
            images, labels = (tensor.to(device) for tensor in self.own)
            seen: dict[int, Tensor] = {}
            with seeded(1, device):
                net = self.settings.net(name, self.dataset, device, images)
                trainer = Trainer(net, Recipe("adam", 64, 64 * steps), torch_rng("order"))
                for until in (*CHECKPOINTS, steps):
                    trainer.run(images, labels, until / steps)
                    seen[until] = torch.cat([parameter.detach().flatten().cpu() for parameter in net.parameters()])
            weights.append(seen)
            answers.append(predict_probabilities(net, self.held_out[0]).argmax(1))
        cpu, gpu = weights
        return TrainingAgreement(
            weights={str(step): float((gpu[step] - cpu[step]).norm() / cpu[step].norm()) for step in cpu},
            cpu_accuracy=_share(answers[0], self.held_out[1]),
            gpu_accuracy=_share(answers[1], self.held_out[1]),
            equal=_share(*answers),
        )

    def deepfool(self) -> Agreement:
        """Norms of the perturbations of held-out images."""
        images = self.held_out[0][: self.settings.size(128, 8)]
        norms, labels = [], []
        for net in self.on_both(self.victim):
            on = images.to(next(net.parameters()).device)
            found = deepfool(net, on)
            norms.append(found.delta.flatten(1).norm(dim=1).cpu())
            labels.append(predict_probabilities(net, on + found.delta).argmax(1))
        return _summary(norms, labels)

    def uap(self) -> Agreement:
        """Fooling rates of both UAPs on the CPU's net; `largest` is 1 minus their cosine."""
        images, held_out, vs = self.own[0][:300], self.held_out[0], list[Tensor]()
        xi = 0.3 * float(images.flatten(1).norm(dim=1).mean())
        for net in self.on_both(self.victim):
            on = images.to(next(net.parameters()).device)
            vs.append(uap_sgd(net, on, xi, self.settings.size(8, 1), torch_rng("uap")).cpu())
        rates = [fooling_rate(self.victim, held_out, v, clip=False) for v in vs]
        labels = [predict_probabilities(self.victim, held_out + v).argmax(1) for v in vs]
        cosine = float(torch.cosine_similarity(vs[0].flatten(), vs[1].flatten(), dim=0))
        return Agreement(rates[0], rates[1], 1.0 - cosine, _share(*labels))

    def encoder(self) -> Agreement:
        """Kit scores by encoders that each device trained, of answers that each device gave."""
        n_views, n_points = self.settings.size(40, 6), self.settings.size(50, 5)
        views = torch.randint(len(self.held_out[0]), (2, n_views, n_points), generator=torch_rng("views"))
        labels = torch.tensor([0, 0, 0, 1, 1, 1, 1])
        config, keep = EncoderConfig(epochs=self.settings.size(20, 1)), torch.ones(1, len(labels), dtype=torch.bool)
        scores = []
        for net in self.on_both(self.victim):
            answers = predict_probabilities(net, self.held_out[0]).clamp_min(1e-9)
            # the victim, two models much like it and four that hold another class for the likeliest
            others = [
                (answers.log() * (0.5 + 0.1 * i)).softmax(1).roll(int(i > 2), dims=1) for i in range(1, len(labels))
            ]
            prints = torch.stack([fingerprints(one, views, PROBABILITIES) for one in (answers, *others)])
            encoder = encoder_of(fit_encoders(prints, labels, keep, config, "agreement", next(net.parameters()).device))
            scores.append(torch.stack([similarities(encoder, one, prints[0]).mean() for one in prints[1:]]))
        return _summary(scores, [found.argsort() for found in scores])

    def int8(self) -> Agreement:
        """Integer kernels of the CPU, and their simulation in floats."""
        data = AttackerData(*self.own, self.own[0][:0])
        quantised = modify(self.victim, Int8(), data, Recipe("adam", 64, 64), torch_rng("int8"))
        cpu, gpu = (predict_probabilities(net, self.held_out[0]) for net in self.on_both(quantised))
        return _compare(cpu, gpu)


def _compare(cpu: Tensor, gpu: Tensor) -> Agreement:
    """Of probabilities; summed up by the mean of the largest of each image."""
    cpu_mean, gpu_mean = (float(found.max(1).values.mean()) for found in (cpu, gpu))
    return Agreement(cpu_mean, gpu_mean, float((cpu - gpu).abs().max()), _share(cpu.argmax(1), gpu.argmax(1)))


def _summary(numbers: list[Tensor], labels: list[Tensor]) -> Agreement:
    cpu, gpu = numbers
    return Agreement(float(cpu.mean()), float(gpu.mean()), float((cpu - gpu).abs().max()), _share(*labels))


def _share(a: Tensor, b: Tensor) -> float:
    return float((a == b).float().mean())


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether convolutions may round their inputs to ten bits, as torch has it by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
