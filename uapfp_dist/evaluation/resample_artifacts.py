"""A scored resample as an artifact."""

from collections.abc import Sequence
from typing import Any

import torch

from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.scoring import ScoredCandidate, ScoredResample
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.storage.store import Artifact


def resample_artifact(scored: ScoredResample) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A scored draw as tensors and JSON."""
    tensors = {f"{m}/{i}": s.scores for m, found in scored.methods.items() for i, s in enumerate(found)}
    tensors |= {f"attack_out/{attack}": scores for attack, scores in scored.attack_out.items()}
    info = {
        method: [
            {"block": s.candidate.block, "format": s.candidate.format.wire}
            | {"training_auc": s.training_auc, "training_gap": s.training_gap, "queries": s.queries}
            for s in found
        ]
        for method, found in scored.methods.items()
    }
    return tensors, {"methods": info}


def read_resample(artifact: Artifact, draw: Resample, order: Sequence[str]) -> ScoredResample:
    """The inverse of `resample_artifact`. JSON does not keep the order of methods, which tables and figures show."""
    info = artifact.info["methods"]
    methods = {
        method: tuple(
            ScoredCandidate(
                Candidate(entry["block"], ResponseFormat.parse(entry["format"])),
                artifact.tensors[f"{method}/{i}"],
                entry["training_auc"],
                entry["training_gap"],
                entry["queries"],
            )
            for i, entry in enumerate(info[method])
        )
        for method in order
        if method in info
    }
    prefix = "attack_out/"
    out = {name.removeprefix(prefix): t for name, t in artifact.tensors.items() if name.startswith(prefix)}
    return ScoredResample(draw, methods, out)
