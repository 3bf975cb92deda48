"""Extraction attacks by name. To add one: a function that crafts queries, a line in EXTRACTIONS."""

from uapfp_dist.science.extraction.cloudleak import margin_queries
from uapfp_dist.science.extraction.extract import CraftQueries, extract
from uapfp_dist.science.extraction.jacobian import jacobian_queries

EXTRACTIONS: dict[str, CraftQueries] = {
    "cloudleak": margin_queries,
    "jacobian": jacobian_queries,
}

__all__ = ["EXTRACTIONS", "extract"]
