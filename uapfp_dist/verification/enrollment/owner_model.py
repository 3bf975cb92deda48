"""The owner's own model: from its weights to an artifact in the store."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import import_model
from uapfp_dist.execution.owner_training import training_function
from uapfp_dist.execution.owner_weights import read_weights
from uapfp_dist.models.architecture_names import architecture_of_file
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.custom import factory_digest
from uapfp_dist.models.published import PublishedNet
from uapfp_dist.tasks.specs import Imported, ModelSpec, OwnerTrained
from uapfp_dist.verification.enrollment.owner_images import check_splits, put_index
from uapfp_dist.verification.enrollment.owner_siblings import SiblingFile, check_gate, import_siblings, read_siblings
from uapfp_dist.verification.enrollment.owner_victim import OwnerVictim
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

COMPARED = 500
"""Images on which two sizes are compared."""
CLEARLY = 0.1
"""Difference of accuracies beyond chance on so many images."""
ABOVE_CHANCE = 0.1
"""Of the way from chance to no error, what a model of 2 or 3 classes that is read rightly knows at least."""


@dataclass(frozen=True)
class OwnerSiblings:
    """How the siblings of an owner's victim come about: trained as it was from other seeds, by one of two ways."""

    train: str | None = None
    """`package.module:function`, where function(images, labels, seed, device) trains one on (N, c, h, w) float32 images
    in [0, 1] and (N,) int64 labels, and gives a module as the factory makes it."""
    folder: Path | None = None
    """Their weights, safetensors files that the owner trained."""

    def read(self, victim: Imported) -> tuple[OwnerTrained | tuple[Imported, ...], tuple[SiblingFile, ...]]:
        """Their origins, those of files in the order of their names, and the files.

        Raises:
            UserError: both ways; no such function or folder.
        """
        if self.train is not None and self.folder is not None:
            raise UserError("train: expected it or siblings, got both; leave one out", argument="train")
        if self.train is not None:
            return training_function(self.train, victim.mean, victim.std), ()
        files = read_siblings(self.folder) if self.folder is not None else ()
        return tuple(replace(victim, weights=file.sha256) for file in files), files


@dataclass(frozen=True)
class OwnerModel:
    """A model read from its file, not yet in a store."""

    victim: OwnerVictim
    weights: dict[str, Tensor]
    trained_on: Tensor | None = None
    """(N,) int64 into the data set."""
    sibling_files: tuple[SiblingFile, ...] = ()
    """Of siblings that the owner trained."""
    ignore_surplus: bool = False
    """Leave out tensors that the architecture does not have, also of siblings."""

    def put(self, context: TaskContext, spec: ModelSpec) -> float:
        """Put the model into the store as `spec`; returns its accuracy on images it was not trained on.

        Raises:
            UserError: weights of another architecture; a model that knows no more than chance.
        """
        card = import_model(context, spec, self.weights, ignore_surplus=self.ignore_surplus)
        try:
            _check_side(context, spec, card.accuracy)
            check_knows(context, spec, card.accuracy)
        except UserError:
            context.store.discard(*spec.artifact)
            raise
        return card.accuracy


def check_knows(context: TaskContext, spec: ModelSpec, accuracy: float) -> None:
    """Refuse a model that knows no more than chance: not twice as much or, of 2 or 3 classes, hardly more.

    Raises:
        UserError: it knows no more.
    """
    n_classes = context.data(spec.data)[0].n_classes
    chance = 1.0 / n_classes
    if accuracy < (2 * chance if n_classes > 3 else chance + ABOVE_CHANCE * (1 - chance)):
        raise UserError(
            f"model: expected one of these classes, its accuracy on unseen images is {accuracy:.3f} "
            f"(chance {chance:.3f}); check mean and std, the order of classes, and the weights",
            argument="model",
        )


def _check_side(context: TaskContext, spec: ModelSpec, accuracy: float) -> None:
    """Refuse a library's net that does clearly better on images of their own size than of the library's.

    It was trained on those; resampled, the kit would protect a model that nobody has.
    """
    net = context.empty(spec)
    dataset, splits = context.data(spec.data)
    side = dataset.shape[1]
    if not isinstance(net, PublishedNet) or "@" in spec.architecture or dataset.shape[1:] == (net.side, net.side):
        return
    net.load_state_dict(context.store.get(*spec.artifact).tensors)
    index, resampled = splits.eval[:COMPARED], net.side
    net.side = None
    try:
        labels = predict_probabilities(net, dataset.pixels(index, context.device)).argmax(1)
    except (UserError, RuntimeError):  # it takes images of one size, or none as small
        return
    as_they_are = float((labels == dataset.labels[index]).float().mean())
    if as_they_are > accuracy + CLEARLY:
        raise UserError(
            f"architecture: expected the side of the images that the model takes, its accuracy is {as_they_are:.3f} on "
            f"images as they are and {accuracy:.3f} resampled to {resampled}; name {spec.architecture}@{side}",
            argument="architecture",
        )


def read_owner_model(
    weights: Path,
    architecture: str,
    width: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    trained_on: Tensor | None = None,
    siblings: OwnerSiblings | None = None,
    *,
    ignore_surplus: bool = False,
) -> OwnerModel:
    """Read an owner's model from a safetensors file.

    Args:
        weights: the state_dict of the owner's module.
        architecture: a known name, see `architecture_of_file`, or `package.module:factory` of the owner's code.
        width: of the nets of Table 1.
        mean: subtracted from each channel of images in [0, 1] before the module sees them.
        std: divided by after that.
        trained_on: (N,) indices of the images it was trained on; None: half of D.
        siblings: how its siblings come about; without `trained_on` there are none.
        ignore_surplus: leave out tensors that the architecture does not have.

    Raises:
        UserError: not safetensors (ONNX has no gradients, a pickle may run code), no such file, torn; nothing that
            siblings could come from.
    """
    tensors, digest = read_weights(weights)
    architecture = architecture_of_file(architecture, tensors)
    owner = _owner_model(tensors, architecture, width, Imported(digest, mean, std), trained_on, siblings)
    return replace(owner, ignore_surplus=ignore_surplus)


def owner_model_of(
    module: nn.Module,
    architecture: str,
    trained_on: Tensor | None = None,
    siblings: OwnerSiblings | None = None,
    *,
    width: int = 0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> OwnerModel:
    """An owner's model as it stands in memory.

    Args:
        module: it takes images in [0, 1] and gives logits.
        architecture: a known name, or `package.module:factory` of the owner's code, which makes such a module with
            random weights.
        trained_on: (N,) sorted indices of the images it was trained on; None: half of D.
        siblings: how its siblings come about; without `trained_on` there are none.
        width: of the nets of Table 1.
        mean, std: as of `read_owner_model`.

    Raises:
        UserError: nothing that siblings could come from.
    """
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    origin = Imported(hashlib.sha256(save(tensors)).hexdigest(), mean, std)
    return _owner_model(tensors, architecture, width, origin, trained_on, siblings)


def _owner_model(
    weights: dict[str, Tensor],
    architecture: str,
    width: int,
    origin: Imported,
    trained_on: Tensor | None,
    siblings: OwnerSiblings | None,
) -> OwnerModel:
    siblings = siblings or OwnerSiblings()
    origins, files = siblings.read(origin)
    victim = OwnerVictim(architecture, width, origin, source=factory_digest(architecture))
    if trained_on is None:
        return OwnerModel(victim, weights)
    victim = replace(victim, victim_set=index_digest(trained_on), n_images=len(trained_on), siblings=origins)
    return OwnerModel(victim, weights, trained_on, files)


def import_owner_model(model: OwnerModel, context: TaskContext, plan: EnrollmentPlan, dataset: Dataset) -> float:
    """Put the model, which images it was trained on and the siblings that the owner brings into the store.

    Returns:
        its accuracy on images that it was not trained on.

    Raises:
        UserError: nothing is left to anybody else; weights that do not fit; an accuracy below the gate of siblings;
            the same weights twice.
    """
    if model.trained_on is not None:
        put_index(context.store, model.trained_on, dataset)
        check_splits(context, plan.victim)
    accuracy = model.put(context, plan.victim)
    check_gate(plan, accuracy)
    if model.sibling_files:
        import_siblings(model.sibling_files, context, plan, ignore_surplus=model.ignore_surplus)
    return accuracy
