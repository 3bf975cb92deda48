"""Extraction attacks by name. To add one: a file with a subclass of `Attack`, a line in ATTACKS."""

from typing import Literal

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


Followed = Literal["victim", "substitute"]


def labels_followed(name: str, wanted: Followed) -> Followed:
    """`Extracted.jacobian_labels` of an extraction: of Jacobian augmentation `wanted`, of others its default."""
    return wanted if name == Jacobian.name else "substitute"


def attack_by(name: str, jacobian_labels: Followed) -> Attack:
    """An attack as a spec names it, with whose labels Jacobian augmentation follows."""
    return Jacobian(along=jacobian_labels) if name == Jacobian.name else ATTACKS[name]
