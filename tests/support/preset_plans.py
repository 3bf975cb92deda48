"""Plans of presets, made once."""

from functools import cache

from black_images import black

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import Plan, make_plan


@cache
def plan_of(name: str, digits: Dataset, seed: int = 0) -> Plan:
    """The plan of a preset."""
    config = preset(name)
    return make_plan(config, seed, digits if config.data.name == "digits" else black(config.data.name))
