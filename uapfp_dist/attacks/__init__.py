"""Extraction attacks by name. To add one: a function that crafts queries, a line in EXTRACTIONS."""

from uapfp_dist.attacks.cloudleak import feature_queries, margin_queries
from uapfp_dist.attacks.extract import CraftQueries, DivergedError, extract
from uapfp_dist.attacks.jacobian import jacobian_queries
from uapfp_dist.attacks.trajectory import TrajectoryPoint, extract_trajectory

EXTRACTIONS: dict[str, CraftQueries | None] = {
    "cloudleak": margin_queries,
    "cloudleak_features": feature_queries,
    "jacobian": jacobian_queries,
    "knockoff": None,
}
"""None crafts nothing: Knockoff Nets (Orekondy et al., CVPR 2019), natural images drawn at random, asked once."""

__all__ = ["EXTRACTIONS", "DivergedError", "TrajectoryPoint", "extract", "extract_trajectory"]
