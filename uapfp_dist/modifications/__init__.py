"""Modifications of a model, stolen or not (paper Section 5.4)."""

from uapfp_dist.modifications.attacker import AttackerContext, AttackerData
from uapfp_dist.modifications.int8 import int8_structure, is_int8
from uapfp_dist.modifications.modify import modify
from uapfp_dist.modifications.registry import MODIFICATIONS, Modification

__all__ = [
    "MODIFICATIONS",
    "AttackerContext",
    "AttackerData",
    "Modification",
    "int8_structure",
    "is_int8",
    "modify",
]
