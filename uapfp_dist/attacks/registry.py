"""Extraction attacks by name. To add one: a file with a subclass of `Attack`, a line in ATTACKS."""

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.attacks.cloudleak import CloudLeak, CloudLeakFeatures
from uapfp_dist.attacks.jacobian import Jacobian
from uapfp_dist.attacks.knockoff import Knockoff

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        CloudLeak(),
        CloudLeakFeatures(),
        Jacobian(),
        Knockoff(),
    )
}
