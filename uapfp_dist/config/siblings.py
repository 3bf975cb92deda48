"""Configuration of the victim's siblings."""

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import omit_default, wire_names


@wire_names("SiblingConfig", "n_committee n_piracy gate exact repeated backbone")
@dataclass(frozen=True)
class SiblingConfig:
    """Siblings: models trained by the victim's recipe on its images, from other seeds; none by default."""

    n_committee: int = 0
    """Siblings whose labels the victim's are compared with; 0: no churn."""
    n_piracy: int = 0
    """Further siblings, from each of which one model is stolen: negatives that differ in the training run alone."""
    gate: float = 0.5
    """Least accuracy of the victim and of every sibling, fixed beforehand and the same for all."""
    exact: bool = omit_default(False, in_files=False)
    """Also the exact sibling test, with the fewest siblings that can decide at alpha (19 at .05)."""
    repeated: float = omit_default(1.0, in_files=False)
    """Share of the training steps, the last ones, that a sibling makes itself; the steps before are the victim's, up to
    a common checkpoint. The victim makes its last steps likewise, from its own seed. 1: all from random weights."""
    backbone: bool = omit_default(False, in_files=False)
    """Victim and siblings start from one model of other images, a backbone, in place of a checkpoint; each then learns
    for `repeated` of the steps of a whole training."""
