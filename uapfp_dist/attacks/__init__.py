"""Model extraction attacks (paper Section 2)."""

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.attacks.extract import DivergedError, LabelledQueries, TrueLabels, extract
from uapfp_dist.attacks.registry import ATTACKS, attack_by, labels_followed
from uapfp_dist.attacks.trajectory import TrajectoryPoint, extract_trajectory

__all__ = [
    "ATTACKS",
    "Attack",
    "DivergedError",
    "LabelledQueries",
    "TrajectoryPoint",
    "TrueLabels",
    "attack_by",
    "extract",
    "extract_trajectory",
    "labels_followed",
]
