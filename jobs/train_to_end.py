"""Does a net learn at the rates of its preset? One model of its zoo is trained to the end, watched after every epoch.

    python jobs/train_to_end.py --preset cifar10 --architecture vgg16 --seed 1000 --data-root DATA --report vgg16.json

It is an independent model of that architecture, with the preset's recipe, in one process; each epoch begins with images
in a new order. Its state lies in the storage after every epoch: the same command goes on from there.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from uapfp_dist.command import main
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import FilesConfig, resolve
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.training import labelled_images, order_rng
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import Trainer, TrainingState
from uapfp_dist.pixels import as_float
from uapfp_dist.rng import GlobalState, seed_of, seeded
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.specs import ModelSpec, Trained

KIND = "training_state"
DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class TrainToEnd:
    """Train one model of a preset to its end."""

    preset: str
    """Whose zoo."""
    architecture: str
    """Of the model: the first independent one that has it."""
    seed: int = 1000
    """Of the zoo."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the arithmetic."""
    threads: int = 1
    """Of PyTorch."""
    files: Annotated[FilesConfig, tyro.conf.arg(name="")] = field(default_factory=FilesConfig)


@dataclass(frozen=True)
class Epoch:
    """What an epoch brought."""

    number: int
    loss: float
    """Cross-entropy on its last batch after it, without dropout; at chance the logarithm of the classes."""
    accuracy: float
    """On EVAL."""
    seconds: float
    threads: int | None = None
    """Of PyTorch; None: not known."""


@dataclass(frozen=True)
class TrainedToEnd:
    """The model, and all its epochs."""

    preset: str
    architecture: str
    seed: int
    precision: str
    device: str
    threads: int
    """Of PyTorch in the last epoch; others may have had another number."""
    optimizer: str
    batch_size: int
    peak_rate: float
    """Of learning, after warm-up."""
    steps: int
    images: int
    """Trained on."""
    eval_images: int
    chance: float
    """Share of EVAL's most frequent class."""
    epochs: tuple[Epoch, ...]


def chosen_model(chosen: TrainToEnd, dataset: Dataset) -> ModelSpec:
    """The spec of the model.

    Raises:
        UserError: no independent model of the preset has this architecture.
    """
    config = with_precision(replace(preset(chosen.preset), precision=chosen.precision), gpus_per_worker=0)
    members = make_plan(config, chosen.seed, dataset).members
    independent = [member.spec for member in members if member.role == Role.HOMOLOGOUS]
    for spec in independent:
        if spec.architecture == chosen.architecture:
            return spec
    known = ", ".join(sorted({spec.architecture for spec in independent}))
    raise UserError(
        f"architecture: expected one of {chosen.preset}'s independent models ({known}), got {chosen.architecture}",
        argument="architecture",
    )


class WatchedTraining:
    """A model's first attempt, epoch by epoch, its state in the store.

    Args:
        context: where it is trained.
        spec: of the model, which is trained on true labels.
    """

    def __init__(self, context: TaskContext, spec: ModelSpec) -> None:
        assert isinstance(spec.origin, Trained)
        self._store, self._key = context.store, content_id(spec)
        self._seed = seed_of(spec.id, 0)
        self._rng = order_rng(self._seed)
        net = context.empty(spec, self._seed)
        self.data, _ = labelled_images(context, spec, spec.origin, self._seed)
        net.normalise_by(self.data.images)
        self.trainer = Trainer(net, spec.recipe, self._rng)
        self.n_epochs = max(1, round(spec.recipe.samples_seen / len(self.data.images)))
        self.epochs: list[Epoch] = []
        dataset, splits = context.data(spec.data)
        self.eval = dataset.to_train_on(splits.eval, context.device), dataset.labels[splits.eval]

    def run(self) -> None:
        """Go on to the end, and print every epoch."""
        with seeded(self._seed, DEVICE):  # dropout
            self._resume()
            while len(self.epochs) < self.n_epochs:
                self.epochs.append(epoch := self._epoch(len(self.epochs) + 1))
                self._keep()
                left = sum(one.seconds for one in self.epochs) / epoch.number * (self.n_epochs - epoch.number)
                print(
                    f"epoch {epoch.number}/{self.n_epochs}: loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.4f}, "
                    f"{epoch.seconds:.0f} s; ETA {left / 60:.0f} min",
                    flush=True,
                )

    def _epoch(self, number: int) -> Epoch:
        began = time.perf_counter()
        self.trainer.run(self.data.images, self.data.targets, number / self.n_epochs)
        assert self.trainer.last_batch is not None
        images, targets = self.trainer.last_batch
        loss = float(F.cross_entropy(self._outputs(images), targets))
        accuracy = self._accuracy()
        return Epoch(number, loss, accuracy, time.perf_counter() - began, torch.get_num_threads())

    @torch.no_grad()
    def _outputs(self, images: Tensor) -> Tensor:
        return self.trainer.net(as_float(images))

    def _accuracy(self) -> float:
        images, labels = self.eval
        return float((predict_probabilities(self.trainer.net, images).argmax(1) == labels).float().mean())

    def _keep(self) -> None:
        state = self.trainer.state()
        tensors = {f"weights/{name}": tensor for name, tensor in state.weights.items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in state.optimizer.items()}
        tensors |= {"order": self._rng.get_state(), "dropout": GlobalState.of(DEVICE).cpu}
        self._store.put(KIND, self._key, tensors, {"step": state.step, "epochs": to_json(self.epochs)})

    def _resume(self) -> None:
        if not self._store.intact(KIND, self._key):
            return
        kept = self._store.get(KIND, self._key)

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in kept.tensors.items() if name.startswith(prefix)}

        self.trainer.resume(TrainingState(kept.info["step"], under("weights/"), under("optimizer/")))
        self._rng.set_state(kept.tensors["order"])
        GlobalState(kept.tensors["dropout"], None, DEVICE).restore()
        self.epochs = [from_json(Epoch, epoch) for epoch in kept.info["epochs"]]
        print(f"goes on after epoch {len(self.epochs)}", flush=True)


def train_to_end(chosen: TrainToEnd) -> TrainedToEnd:
    """Train the model, or what is left of its training."""
    paths = resolve(chosen.files.runtime)
    dataset = load_images(preset(chosen.preset).data, paths)
    spec = chosen_model(chosen, dataset)
    training = WatchedTraining(TaskContext(Store(paths.storage), paths.data_root, DEVICE, dataset), spec)
    recipe, labels = spec.recipe, training.eval[1]
    print(
        f"{spec.architecture} by {recipe.optimizer}, batches of {recipe.batch_size}, {recipe.precision}: "
        f"{len(training.data.images)} images, {training.n_epochs} epochs",
        flush=True,
    )
    training.run()
    return TrainedToEnd(
        chosen.preset,
        spec.architecture,
        chosen.seed,
        recipe.precision,
        str(DEVICE),
        training.epochs[-1].threads or chosen.threads,
        recipe.optimizer,
        recipe.batch_size,
        training.trainer.peak,
        training.trainer.step,
        len(training.data.images),
        len(labels),
        float(labels.bincount().max()) / len(labels),
        tuple(training.epochs),
    )


def run() -> None:
    """Train, print, write."""
    chosen = tyro.cli(TrainToEnd, description=__doc__)
    if chosen.threads < 1:
        raise UserError(f"threads: expected at least 1, got {chosen.threads}", argument="threads")
    torch.set_num_threads(chosen.threads)
    report = resolve(chosen.files.runtime).report
    check_report(report)
    write_report(report, train_to_end(chosen))


if __name__ == "__main__":
    main(run)
