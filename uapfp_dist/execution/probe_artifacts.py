"""Probes and responses as artifacts."""

from torch import Tensor

from uapfp_dist.fingerprints.probe_data import Block, Probe, Responses
from uapfp_dist.storage.store import Artifact


def read_probe(artifact: Artifact) -> Probe:
    """A stored probe."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in artifact.tensors.items():
        if "/" in key:
            name, part = key.rsplit("/", 1)
            parts.setdefault(name, {})[part] = tensor
    blocks = {name: Block(**tensors) for name, tensors in parts.items()}
    t = artifact.tensors
    return Probe(t["points"], t["views"], blocks, t["natural"], t["natural_labels"], artifact.info)


def read_responses(artifact: Artifact) -> Responses:
    """Stored answers."""
    return Responses(artifact.tensors)
