"""Siblings of the victim, as configuration."""

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import omit_default, wire_names


@wire_names("SiblingConfig", "n_committee n_piracy gate exact")
@dataclass(frozen=True)
class SiblingConfig:
    """Siblings: models trained as the victim is, field by field, from other seeds; none by default."""

    n_committee: int = 0
    """Siblings whose labels the victim's are compared with; 0: no churn."""
    n_piracy: int = 0
    """Further siblings, from each of which one model is stolen: these negatives share everything but the run."""
    gate: float = 0.5
    """Least accuracy of the victim and of every sibling, fixed beforehand and the same for all."""
    exact: bool = omit_default(False, in_files=False)
    """Also the exact sibling test, with the fewest siblings that can decide at alpha (19 at .05)."""
