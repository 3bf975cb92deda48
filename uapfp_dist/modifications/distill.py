"""Distillation: a net of another architecture learns the model's responses (Hinton et al., 2015)."""

import copy

from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import fit
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.tasks.modification_specs import Distill


def distill(net: Net, spec: Distill, attacker: AttackerContext) -> Net:
    """A copy of the student, trained by the recipe on the responses of `net` to the unlabelled images."""
    assert attacker.student is not None, "distillation needs a student"
    images = attacker.data.unlabelled
    targets = spec.labels.targets(spec.labels.respond(predict_probabilities(net, images))).to(images.device)
    student = copy.deepcopy(attacker.student)
    student.normalise_by(images)
    fit(student, images, targets, attacker.recipe, attacker.rng)
    return student
