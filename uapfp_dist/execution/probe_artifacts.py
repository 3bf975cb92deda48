"""Probes and responses as artifacts."""

from torch import Tensor

from uapfp_dist.fingerprints.probe_data import Answers, Block, Probe
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


def read_answers(artifact: Artifact) -> Answers:
    """Stored answers."""
    return Answers(artifact.tensors)
