"""Model extraction attacks (paper Section 2)."""

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.attacks.extract import DivergedError, LabelledQueries, TrueLabels, extract
from uapfp_dist.attacks.registry import ATTACKS
from uapfp_dist.attacks.trajectory import TrajectoryPoint, extract_trajectory

__all__ = [
    "ATTACKS",
    "Attack",
    "DivergedError",
    "LabelledQueries",
    "TrajectoryPoint",
    "TrueLabels",
    "extract",
    "extract_trajectory",
]
