"""The exact sibling test of a suspect by a kit."""

import math

from torch import Tensor

from uapfp_dist.verification.judging.verdict import ExactEvidence
from uapfp_dist.verification.kit.exact_test import ExactTest, exact_p, labels_of

EXACT_DECIDES = "as enrolled: the victim is ranked among its own siblings, whatever the suspect is"


def exact_evidence(test: ExactTest | None, probabilities: Tensor) -> ExactEvidence | None:
    """Where the victim ranks; None where no image of the test was answered.

    Args:
        test: of the kit.
        probabilities: (Q, C) in the kit's order, NaN where nothing was answered.
    """
    if test is None:
        return None
    labels = labels_of(probabilities)
    answered = int((labels[test.images] >= 0).sum())
    if not answered:
        return None
    statistics = test.statistics(labels)
    victim, siblings = statistics[0], statistics[1:]
    spread = float(siblings.std()) if len(siblings) > 1 else 0.0
    z = float((victim - siblings.mean()) / spread) if spread else math.nan
    above = int((siblings >= victim).sum())
    return ExactEvidence(
        exact_p(statistics), len(siblings), above, float(f"{z:.9g}"), answered, tuple(statistics.tolist())
    )
