"""A model that a kit holds out: what the kit says of it, and its weights."""

from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.serving.package import ServedNet
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.kit.info import KitModel
from uapfp_dist.verification.kit.kit import Kit


def chosen_row(kit: Kit, group: str, index: int) -> KitModel:
    """What the kit says of the model.

    Raises:
        UserError: the kit holds out fewer, or none.
    """
    held_out = [row for row in kit.info.models if row.part == "test"]
    rows = [row for row in held_out if row.group == group]
    if not rows:
        groups = ", ".join(dict.fromkeys(row.group for row in held_out)) or "none"
        why = _why_no_stolen(kit) if group == "piracy" else ""
        raise UserError(
            f"group: expected one that this kit holds out models of ({groups}), got {group}{why}; name another, such "
            "as group homologous",
            argument="group",
        )
    if not 0 <= index < len(rows):
        raise UserError(
            f"index: expected 0 to {len(rows) - 1}, the {group} models this kit holds out, got {index}",
            argument="index",
        )
    return rows[index]


def _why_no_stolen(kit: Kit) -> str:
    if not kit.views:
        return ": it is light, and holds out no stolen model"
    if (kit.info.configuration or {}).get("enroll", {}).get("n_test_piracy") == 0:
        return ": it was enrolled with n_test_piracy 0"
    return ": none of its stolen models to hold out could be made"


def weights_of(row: KitModel, store: Store) -> dict[str, Tensor]:
    """Its weights.

    Raises:
        UserError: they are not in the storage.
    """
    if not store.intact("model", row.model):
        raise UserError(
            f"storage {store.url}: expected model {row.model} of the kit, it is not there; name the kit's own",
            argument="storage",
        )
    return {name: tensor.contiguous() for name, tensor in store.get("model", row.model).tensors.items()}


def net_of(row: KitModel, kit: Kit) -> ServedNet:
    """What `package` must know of a model of the kit.

    Raises:
        UserError: the kit does not say how its models were made.
    """
    width = (kit.info.configuration or {}).get("zoo", {}).get("width")
    if not isinstance(width, int):
        raise UserError("kit: expected the configuration that its models were made by, it has none", argument="kit")
    return ServedNet(row.architecture, width, kit.shape, kit.n_classes)
