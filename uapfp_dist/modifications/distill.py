"""Distillation: a net of another architecture learns what the model answers (Hinton et al., 2015)."""

import copy

from torch import Tensor

from uapfp_dist.models.blackbox import ask
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import fit
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.response_format import Labels, check_labels, k_of, top_k
from uapfp_dist.tasks.modification_specs import Distill


def distill(net: Net, change: Distill, attacker: AttackerContext) -> Net:
    """A copy of the student, trained by the recipe on the answers of `net` to the unlabelled images.

    Raises:
        UserError: unknown labels.
    """
    assert attacker.student is not None, "distillation needs a student"
    images = attacker.material.unlabelled
    targets = distillation_targets(ask(net, images), change.labels).to(images.device)
    student = copy.deepcopy(attacker.student)
    student.normalise_by(images)
    fit(student, images, targets, attacker.recipe, attacker.rng)
    return student


def distillation_targets(answers: Tensor, labels: Labels) -> Tensor:
    """What is learnt of probabilities (Q, C): `soft` all, `hard` (Q,) labels, `top<k>` the k largest, the others 0.

    Raises:
        UserError: unknown labels.
    """
    check_labels(labels)
    if labels == "soft":
        return answers
    return answers.argmax(1) if labels == "hard" else top_k(answers, k_of(labels))
