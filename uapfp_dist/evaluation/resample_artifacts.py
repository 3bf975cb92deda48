"""A scored resample as an artifact."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.resamples import Draw
from uapfp_dist.fingerprints.scoring import Scored, ScoredDraw
from uapfp_dist.storage.store import Artifact


def write_draw(scored: ScoredDraw) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A scored draw as tensors and JSON."""
    tensors = {f"{m}/{i}": s.scores for m, found in scored.methods.items() for i, s in enumerate(found)}
    tensors |= {f"attack_out/{attack}": scores for attack, scores in scored.attack_out.items()}
    info = {
        method: [
            dataclasses.asdict(s.candidate)
            | {"training_auc": s.training_auc, "training_gap": s.training_gap, "queries": s.queries}
            for s in found
        ]
        for method, found in scored.methods.items()
    }
    return tensors, {"methods": info}


def read_draw(artifact: Artifact, draw: Draw, order: Sequence[str]) -> ScoredDraw:
    """The inverse of `write_draw`; JSON does not keep the order of the methods, by which tables and figures go."""
    info = artifact.info["methods"]
    methods = {
        method: tuple(
            Scored(
                Candidate(entry["block"], entry["format"]),
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
    return ScoredDraw(draw, methods, out)
