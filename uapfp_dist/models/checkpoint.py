"""Weights as people save them, into a net: wrappers around their names, other things beside them, half precision."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.models.net import Net

COMPILED = "_orig_mod"
"""What torch.compile puts into names, at any place."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that are weights as they stand; integers and 8-bit floats need scales that stand elsewhere."""
COUNTERS = "num_batches_tracked"
"""Of batch normalisation; they decide no response, and some savers leave them out."""
PREPROCESSING = ("mean", "std")
"""Of a net of ours; weights without them take images as they are."""
MOST_NAMES = 4


class MisfitError(ValueError):
    """Weights of another net.

    Args:
        problem: in words, for an error of one line.
        surplus: they fit but for tensors that the net does not have.
    """

    def __init__(self, problem: str, *, surplus: bool = False) -> None:
        super().__init__(problem)
        self.surplus = surplus


def load_weights(net: Net, weights: Mapping[str, Tensor], *, ignore_surplus: bool = False) -> None:
    """Load weights into a net, under their own names or behind one prefix: `module.`, `model.`, `state_dict.` and such.

    Args:
        net: one of ours, also with its weights named as torchvision does; of a module of others (`ModuleNet`) the
            weights are the module's, or those of the whole net.
        weights: names to tensors of any floating type of 16 bits or more.
        ignore_surplus: leave out tensors that the net does not have; otherwise they are an error.

    Raises:
        MisfitError: tensors missing, of another shape or type, surplus ones, two sets of weights in one file.
    """
    given = _without_compiled(weights)
    targets: list[tuple[nn.Module, dict[str, str]]] = [(net, {key: key for key in net.state_dict()})]
    if isinstance(net, ModuleNet):
        targets.append((net.module, {key: key for key in net.module.state_dict()}))
    else:
        targets.append((net, {net.published_key(key): key for key in net.state_dict()}))
    found: list[tuple[nn.Module, dict[str, str]]] = []
    for target, names in targets:
        optional = () if isinstance(target, ModuleNet) else PREPROCESSING
        needed = {name for name in names if name not in optional and not name.endswith(COUNTERS)}
        prefixes = _prefixes(given, names)
        whole = [prefix for prefix, keys in prefixes.items() if needed <= keys.keys()]
        if "" in whole or len(whole) == 1:
            prefix = "" if "" in whole else whole[0]
            found.append((target, {names[name]: key for name, key in prefixes[prefix].items()}))
        elif whole:
            raise MisfitError(f"they hold it {len(whole)} times, behind {_listed(whole)}; save one alone")
    if not found:
        raise MisfitError(_missing(given, targets[-1][1] if isinstance(net, ModuleNet) else targets[0][1]))
    target, keys = found[0]
    own = target.state_dict()
    for name, key in sorted(keys.items()):
        _check_tensor(key, given[key], own[name])
    if not ignore_surplus and (surplus := sorted(given.keys() - set(keys.values()))):
        raise MisfitError(f"{len(surplus)} tensors are none of its own, {_listed(surplus)}", surplus=True)
    target.load_state_dict({name: given[keys[name]] if name in keys else tensor for name, tensor in own.items()})


def _without_compiled(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same without the marks of torch.compile in their names."""
    plain = {".".join(part for part in key.split(".") if part != COMPILED): t for key, t in weights.items()}
    return plain if len(plain) == len(weights) else dict(weights)


def _prefixes(given: Collection[str], names: Collection[str]) -> dict[str, dict[str, str]]:
    """What stands before names of the net in the file, to those names and their keys in the file."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for key in given:
        parts = key.split(".")
        for i in range(len(parts)):
            if (name := ".".join(parts[i:])) in names:
                found[key[: len(key) - len(name)]][name] = key
    return found


def _missing(given: Mapping[str, Tensor], names: Collection[str]) -> str:
    """What is missing behind the prefix that holds most."""
    prefixes = _prefixes(given, names)
    present = max(prefixes.values(), key=len, default={})
    missing = sorted(set(names) - present.keys() - set(PREPROCESSING))
    if not present:
        return f"none of its {len(names)} tensors is there, such as {_listed(missing)}, but {_listed(sorted(given))}"
    return f"{len(missing)} of its {len(names)} tensors are missing, {_listed(missing)}"


def _check_tensor(key: str, given: Tensor, own: Tensor) -> None:
    if given.shape != own.shape:
        raise MisfitError(f"{key!a:.80} has the shape {_shape(given)}, not {_shape(own)}")
    if own.is_floating_point() != given.is_floating_point() or (own.is_floating_point() and given.dtype not in FLOATS):
        kind = str(given.dtype).removeprefix("torch.")
        raise MisfitError(f"{key!a:.80} holds {kind}, which are no weights without their scale; save it as float32")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "()"


def _listed(names: Collection[str]) -> str:
    first = [f"{name!a:.80}" for name in list(names)[:MOST_NAMES]]
    return ", ".join(first) + (" ..." if len(names) > MOST_NAMES else "") if first else "nothing"
