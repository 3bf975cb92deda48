"""What an owner brings to an enrolment: her weights, their preprocessing, and which images she trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import import_model
from uapfp_dist.execution.owner_weights import read_weights
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import Imported, ModelSpec
from uapfp_dist.verification.reference_models import OwnerVictim

FEWEST_IMAGES = 20
"""Of D_v, and of the images in D that she did not train on: an attacker has only those."""


@dataclass(frozen=True)
class OwnerModel:
    """A model read from its file, not yet in a store."""

    victim: OwnerVictim
    weights: dict[str, Tensor]
    trained_on: Tensor | None = None
    """(N,) int64 into the data set."""

    def put(self, context: TaskContext, spec: ModelSpec) -> float:
        """Put her model into the store as `spec`; returns its accuracy on images it was not trained on.

        Raises:
            UserError: weights of another architecture; a model that knows no more than chance.
        """
        card = import_model(context, spec, self.weights)
        chance = 1.0 / context.data(spec.data)[0].n_classes
        if card.accuracy < 2 * chance and card.accuracy < 0.9:
            context.store.discard(spec.kind, spec.id)
            raise UserError(
                f"victim: expected a model of these classes, its accuracy on unseen images is {card.accuracy:.3f} "
                f"(chance {chance:.3f}); check --mean and --std, the order of classes, and the weights"
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
        weights: the state_dict of her module.
        architecture: a known name, or `package.module:factory` of her own code.
        width: of the nets of Table 1.
        mean: subtracted from each channel of images in [0, 1] before her module sees them.
        std: divided by after that.
        trained_on: (N,) indices of the images she trained on; None: half of D.

    Raises:
        UserError: not safetensors (ONNX has no gradients, a pickle may run code), no such file, torn.
    """
    tensors, digest = read_weights(weights)
    return _brought(tensors, architecture, width, Imported(digest, mean, std), trained_on)


def owner_model_of(module: nn.Module, architecture: str, trained_on: Tensor | None = None) -> OwnerModel:
    """An owner's model as it stands in memory.

    Args:
        module: it takes images in [0, 1] and gives logits.
        architecture: `package.module:factory` of her own code, which makes such a module with random weights.
        trained_on: (N,) sorted indices of the images she trained on; None: half of D.
    """
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    return _brought(tensors, architecture, 0, Imported(hashlib.sha256(save(tensors)).hexdigest()), trained_on)


def _brought(
    weights: dict[str, Tensor], architecture: str, width: int, origin: Imported, trained_on: Tensor | None
) -> OwnerModel:
    named = None if trained_on is None else index_digest(trained_on)
    n_images = None if trained_on is None else len(trained_on)
    return OwnerModel(OwnerVictim(architecture, width, origin, named, n_images), weights, trained_on)


def import_owner_model(brought: OwnerModel, context: TaskContext, spec: ModelSpec, dataset: Dataset) -> float:
    """Put her model, and which images she trained on, into the store; returns its accuracy on others.

    Raises:
        UserError: nothing is left to anybody else; see `OwnerModel.put`.
    """
    if brought.trained_on is not None:
        keep_index(context.store, brought.trained_on, dataset)
        check_cut(context, spec)
    return brought.put(context, spec)


def read_index(path: Path, dataset: Dataset) -> Tensor:
    """(N,) sorted indices of the images that the owner trained on, from a text file with a number a line.

    Images count from 0 in the order of the data set, official training images first.

    Raises:
        UserError: no such file, not numbers, repeated, outside the data set; nothing is left for anybody else.
    """
    try:
        index = torch.tensor(sorted(int(line) for line in path.read_text().split()), dtype=torch.int64)
    except (OSError, ValueError) as error:
        raise UserError(f"trained-on: expected a text file with an index a line at {path} ({error})") from error
    n = len(dataset.labels)
    if len(index) < FEWEST_IMAGES or int(index[0]) < 0 or int(index[-1]) >= n or len(index.unique()) < len(index):
        raise UserError(
            f"trained-on: expected at least {FEWEST_IMAGES} different indices from 0 to {n - 1}, got {len(index)} in "
            f"{path}; list each image once"
        )
    return index


def keep_index(store: Store, index: Tensor, dataset: Dataset) -> None:
    """Publish it, so that every worker cuts the data alike."""
    store.put("index", index_digest(index), {"index": index}, {"data": dataset.digest})


def check_cut(context: TaskContext, spec: ModelSpec) -> None:
    """Refuse data that leave nothing to anybody but the victim.

    Raises:
        UserError: too few images of D outside D_v, or of PROBE, ATTACK or EVAL.
    """
    _, splits = context.data(spec.data)
    rest = len(splits.d) - len(splits.d_v)
    held_out = {name: len(getattr(splits, name)) for name in ("probe", "attack", "eval")}
    if rest < FEWEST_IMAGES or min(held_out.values()) < FEWEST_IMAGES:
        raise UserError(
            f"trained-on: expected at least {FEWEST_IMAGES} images of each other use, the victim's leave {rest} to "
            f"train others on and {held_out}; add images that she was not trained on"
        )
