"""Train from a common start: keep a training in the middle, and take it up again with another seed."""

import torch

from uapfp_dist.data.splits import index_digest, training_set
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.training import MadeModel, labelled_images, order_rng
from uapfp_dist.models.training import Trainer, TrainingState
from uapfp_dist.rng import seed_of, seeded
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import ModelSpec, Trained

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"
"""Before the names of the tensors of a checkpoint."""


def make_training_checkpoint(context: TaskContext, spec: TrainingCheckpointSpec) -> None:
    """Train for a share of the steps and keep all that the rest depends on."""
    model, seed = spec.model, seed_of(spec.id, 0)
    assert isinstance(model.origin, Trained)
    data, digest = labelled_images(context, model, model.origin, seed)
    net = context.empty(model, seed)
    net.normalise_by(data.images)
    trainer = Trainer(net, model.recipe, order_rng(seed))
    with seeded(seed, context.device):  # dropout
        trainer.run(data.images, data.targets, spec.share)
    state = trainer.state()
    tensors = {WEIGHTS + name: tensor for name, tensor in state.weights.items()}
    tensors |= {OPTIMIZER + name: tensor for name, tensor in state.optimizer.items()}
    context.store.put_new(*spec.artifact, tensors, {"step": state.step, "train_digest": digest})


def continue_training(
    context: TaskContext, spec: ModelSpec, origin: Continued, seed: int, rng: torch.Generator
) -> MadeModel:
    """A net trained on D_v from where `origin` starts; arguments as of `execution.training.extract_model`."""
    dataset, splits = context.data(spec.data)
    index = training_set(splits, Trained(origin.on), spec.seed)
    net = context.empty(spec, seed)
    trainer = Trainer(net, spec.recipe, rng)
    stored = context.store.get(*origin.start.artifact)
    if isinstance(origin.start, TrainingCheckpointSpec):
        parts = (
            {name.removeprefix(prefix): t for name, t in stored.tensors.items() if name.startswith(prefix)}
            for prefix in (WEIGHTS, OPTIMIZER)
        )
        trainer.resume(TrainingState(stored.info["step"], *parts))
    else:
        net.load_state_dict(stored.tensors)
    trainer.run(dataset.to_train_on(index, context.device), dataset.labels[index].to(context.device))
    return MadeModel(net, 0, trainer.step, index_digest(index))
