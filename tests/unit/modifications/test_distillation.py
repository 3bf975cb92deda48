"""Distillation: a student learns the responses of the model, as the attacker sees them."""

from dataclasses import replace

import pytest
import torch
from modified_nets import RECIPE, accuracy, modified, student
from torch import Tensor

from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.modifications import AttackerData
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.modification_specs import (
    Distill,
)


def test_a_student_learns_a_distribution(victim: Net, data: AttackerData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest probabilities are rescaled, as where a model is stolen by them: every image weighs the same."""
    seen: list[Tensor] = []
    monkeypatch.setattr(
        "uapfp_dist.modifications.distill.fit", lambda net, images, targets, recipe, rng: seen.append(targets)
    )
    modified(victim, Distill(ResponseFormat(2)), data)
    assert int((seen[0] > 0).sum(1).max()) == 2
    torch.testing.assert_close(seen[0].sum(1), torch.ones(len(seen[0])))


@pytest.mark.parametrize("labels", [PROBABILITIES, LABEL, ResponseFormat(1), ResponseFormat(3)], ids=str)
def test_a_student_learns_the_models_responses(
    labels: ResponseFormat, victim: Net, data: AttackerData, held_out: Tensor
) -> None:
    """It agrees with its teacher on images that neither saw, far beyond chance, and never sees a true label."""
    blind = replace(data, labels=torch.zeros_like(data.labels))
    distilled = modified(victim, Distill(labels), blind, recipe=replace(RECIPE, samples_seen=15_000))
    assert accuracy(distilled, held_out, predict_probabilities(victim, held_out).argmax(1)) > 0.7
    assert [p.shape for p in distilled.parameters()] == [p.shape for p in student().parameters()]
