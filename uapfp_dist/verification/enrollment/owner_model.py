"""The owner's own model: from its weights to an artifact in the store."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import import_model
from uapfp_dist.execution.owner_weights import read_weights
from uapfp_dist.tasks.specs import Imported, ModelSpec
from uapfp_dist.verification.enrollment.owner_images import check_splits, put_index
from uapfp_dist.verification.enrollment.owner_victim import OwnerVictim


@dataclass(frozen=True)
class OwnerModel:
    """A model read from its file, not yet in a store."""

    victim: OwnerVictim
    weights: dict[str, Tensor]
    trained_on: Tensor | None = None
    """(N,) int64 into the data set."""

    def put(self, context: TaskContext, spec: ModelSpec) -> float:
        """Put the model into the store as `spec`; returns its accuracy on images it was not trained on.

        Raises:
            UserError: weights of another architecture; a model that knows no more than chance.
        """
        card = import_model(context, spec, self.weights)
        chance = 1.0 / context.data(spec.data)[0].n_classes
        if card.accuracy < 2 * chance and card.accuracy < 0.9:
            context.store.discard(spec.kind, spec.id)
            raise UserError(
                f"model: expected one of these classes, its accuracy on unseen images is {card.accuracy:.3f} "
                f"(chance {chance:.3f}); check mean and std, the order of classes, and the weights",
                argument="model",
            )
        return card.accuracy


def read_owner_model(
    weights: Path,
    architecture: str,
    width: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    trained_on: Tensor | None = None,
) -> OwnerModel:
    """Read an owner's model from a safetensors file.

    Args:
        weights: the state_dict of the owner's module.
        architecture: a known name, or `package.module:factory` of the owner's code.
        width: of the nets of Table 1.
        mean: subtracted from each channel of images in [0, 1] before the module sees them.
        std: divided by after that.
        trained_on: (N,) indices of the images it was trained on; None: half of D.

    Raises:
        UserError: not safetensors (ONNX has no gradients, a pickle may run code), no such file, torn.
    """
    tensors, digest = read_weights(weights)
    return _owner_model(tensors, architecture, width, Imported(digest, mean, std), trained_on)


def owner_model_of(module: nn.Module, architecture: str, trained_on: Tensor | None = None) -> OwnerModel:
    """An owner's model as it stands in memory.

    Args:
        module: it takes images in [0, 1] and gives logits.
        architecture: `package.module:factory` of the owner's code, which makes such a module with random weights.
        trained_on: (N,) sorted indices of the images it was trained on; None: half of D.
    """
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    return _owner_model(tensors, architecture, 0, Imported(hashlib.sha256(save(tensors)).hexdigest()), trained_on)


def _owner_model(
    weights: dict[str, Tensor], architecture: str, width: int, origin: Imported, trained_on: Tensor | None
) -> OwnerModel:
    digest = None if trained_on is None else index_digest(trained_on)
    n_images = None if trained_on is None else len(trained_on)
    return OwnerModel(OwnerVictim(architecture, width, origin, digest, n_images), weights, trained_on)


def import_owner_model(model: OwnerModel, context: TaskContext, spec: ModelSpec, dataset: Dataset) -> float:
    """Put the model, and which images it was trained on, into the store; returns its accuracy on others.

    Raises:
        UserError: nothing is left to anybody else; see `OwnerModel.put`.
    """
    if model.trained_on is not None:
        put_index(context.store, model.trained_on, dataset)
        check_splits(context, spec)
    return model.put(context, spec)
