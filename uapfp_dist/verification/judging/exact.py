"""The exact sibling test of a suspect by a kit."""

import math

import torch
from torch import Tensor

from uapfp_dist.fingerprints.sibling_test import MISSING, SiblingTest, p_values
from uapfp_dist.verification.judging.verdict import ExactEvidence

EXACT_DECIDES = "as enrolled: the victim is ranked among its own siblings, whatever the suspect is"


def exact_evidence(test: SiblingTest | None, probabilities: Tensor) -> ExactEvidence | None:
    """Where the victim ranks; None where no image of the test was answered.

    Args:
        test: of the kit.
        probabilities: (Q, C) in the kit's order, NaN where nothing was answered.
    """
    if test is None:
        return None
    known = probabilities.isfinite().all(1)
    labels = torch.where(known, probabilities.nan_to_num().argmax(1), MISSING)
    answered = int(known[test.images].sum())
    if not answered:
        return None
    (statistics,) = test.statistics(labels[None])
    victim, siblings = statistics[0], statistics[1:]
    spread = float(siblings.std()) if len(siblings) > 1 else 0.0
    z = float((victim - siblings.mean()) / spread) if spread else math.nan
    above = int((siblings >= victim).sum())
    return ExactEvidence(
        float(p_values(statistics[None])), len(siblings), above, float(f"{z:.9g}"), answered, tuple(statistics.tolist())
    )
