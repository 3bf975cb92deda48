"""Fine-tuning on churn points that an attacker guesses with siblings of the stolen model."""

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.modifications.finetune import fine_tuning_trainer
from uapfp_dist.tasks.modification_specs import GuessedChurn


def fine_tune_on_guesses(net: Net, spec: GuessedChurn, attacker: AttackerContext) -> Net:
    """Train `net`, in place: to its siblings' most frequent label where it disagrees, elsewhere to its own label.

    A label that a model gives, but others trained on the same labels do not, stems from its own run or from the
    victim's: such images are what an owner queries. There are as many other images as images of disagreement. A net
    that disagrees nowhere stays as it is.

    Raises:
        UserError: no epochs, fewer than 2 siblings, or no images.
    """
    images = attacker.data.unlabelled
    if not spec.epochs > 0 or len(attacker.siblings) < 2 or not len(images):
        raise UserError(
            "guessed churn: expected more than 0 epochs, at least 2 siblings and 1 image, got "
            f"{spec.epochs:g}, {len(attacker.siblings)} and {len(images)}"
        )
    own = predict_probabilities(net, images)
    votes = torch.stack([predict_probabilities(one, images).argmax(1) for one in attacker.siblings], dim=1)
    disagrees, targets = guess(own.argmax(1), votes, own.shape[1])
    at = disagrees.nonzero().flatten()
    if not len(at):
        return net
    others = (~disagrees).nonzero().flatten()
    others = others[torch.randperm(len(others), generator=attacker.rng)[: len(at)]]
    chosen = torch.cat([at, others]).to(images.device)
    trainer = fine_tuning_trainer(net, attacker, spec.epochs, n_images=len(chosen))
    trainer.run(images[chosen], targets.to(images.device)[chosen])
    return net


def guess(own: Tensor, votes: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Where a model disagrees with its siblings, and the label to learn.

    Args:
        own: (N,) int64 labels of the model.
        votes: (N, m) int64 labels of its siblings.
        n_classes: of all.

    Returns:
        (N,) bool: another label has more votes than the model's own; and (N,) int64: the label of most votes there (of
        the lowest number among equals), elsewhere the model's own.
    """
    counts = F.one_hot(votes, n_classes).sum(1)
    most, label = counts.max(1)
    disagrees = most > counts.gather(1, own[:, None])[:, 0]
    return disagrees, torch.where(disagrees, label, own)
