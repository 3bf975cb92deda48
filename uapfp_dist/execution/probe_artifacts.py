"""Probes and responses as artifacts: the names of their tensors and JSON keys."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from uapfp_dist.fingerprints.blocks import DEEPFOOL, IPGUARD, IPGUARD_K, LAP_MINIMAL, BlockKey
from uapfp_dist.fingerprints.probe_data import Block, Probe, ProbeSummary, Responses, UapSet
from uapfp_dist.storage.store import Artifact

READ = "read:"
"""Before the name of a block: its images as they were read from JPEG files."""


def probe_artifact(probe: Probe) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A probe as tensors and JSON."""
    tensors = {name: getattr(probe, name) for name in ("points", "views", "natural", "natural_labels")}
    for key, block in probe.blocks.items():
        tensors |= {f"{key.wire}/{part}": tensor for part, tensor in vars(block).items()}
    if probe.natural_truth is not None:
        tensors["natural_truth"] = probe.natural_truth
    tensors |= {f"{READ}{key.wire}": images for key, images in probe.read_from_files.items()}
    summary = probe.summary
    info: dict[str, Any] = {
        "uaps": uaps_json(summary),
        "mean_image_norm": summary.mean_image_norm,
        "fooling_target_reached": summary.fooling_target_reached,
        "n_points": probe.views.shape[1],
        "n_views": probe.views.shape[0],
        "n_test_views": probe.n_test_views,
        "unique_points": len(probe.points),
        "natural_errors": summary.natural_errors,
        "topped_up": summary.topped_up,
        "round_to_8_bits": probe.round_to_8_bits,
    }
    if probe.jpeg_quality is not None:
        info["jpeg_quality"] = probe.jpeg_quality
    if summary.deepfool is not None:
        info |= {
            DEEPFOOL.wire: asdict(summary.deepfool),
            LAP_MINIMAL.wire: {"l2": summary.lap_minimal_l2},
            IPGUARD.wire: {"reached": summary.ipguard_reached},
        }
    if summary.fooling_on_eval is not None:
        info["fooling_on_eval"] = summary.fooling_on_eval
    if summary.ipguard_targets:
        info[IPGUARD_K] = {f"{k:g}": share for k, share in summary.ipguard_targets.items()}
    return tensors, info


def uaps_json(summary: ProbeSummary) -> dict[str, dict[str, float]]:
    """Radius to what describes its UAPs, as stored probes, reports and kits have it."""
    return {f"{radius:g}": asdict(uaps) for radius, uaps in summary.uaps.items()}


def read_probe(artifact: Artifact) -> Probe:
    """The inverse of `probe_artifact`."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in artifact.tensors.items():
        if "/" in key:
            name, part = key.rsplit("/", 1)
            parts.setdefault(name, {})[part] = tensor
    t, info = artifact.tensors, artifact.info
    return Probe(
        points=t["points"],
        views=t["views"],
        blocks={BlockKey.parse(name): Block(**tensors) for name, tensors in parts.items()},
        natural=t["natural"],
        natural_labels=t["natural_labels"],
        n_test_views=info["n_test_views"],
        round_to_8_bits=info["round_to_8_bits"],
        summary=_summary(info),
        natural_truth=t.get("natural_truth"),
        jpeg_quality=info.get("jpeg_quality"),
        read_from_files={
            BlockKey.parse(name.removeprefix(READ)): tensor for name, tensor in t.items() if name.startswith(READ)
        },
    )


def _summary(info: Mapping[str, Any]) -> ProbeSummary:
    return ProbeSummary(
        uaps={float(radius): UapSet(**uaps) for radius, uaps in info["uaps"].items()},
        mean_image_norm=info["mean_image_norm"],
        fooling_target_reached=info["fooling_target_reached"],
        natural_errors=info["natural_errors"],
        topped_up=info["topped_up"],
        deepfool=UapSet(**info[DEEPFOOL.wire]) if DEEPFOOL.wire in info else None,
        lap_minimal_l2=info.get(LAP_MINIMAL.wire, {}).get("l2"),
        ipguard_reached=info.get(IPGUARD.wire, {}).get("reached"),
        fooling_on_eval=info.get("fooling_on_eval"),
        ipguard_targets={float(k): share for k, share in info.get(IPGUARD_K, {}).items()},
    )


def responses_artifact(responses: Responses) -> dict[str, Tensor]:
    """Responses as tensors."""
    return {key.wire: tensor for key, tensor in responses.blocks.items()}


def read_responses(artifact: Artifact) -> Responses:
    """The inverse of `responses_artifact`."""
    return Responses({BlockKey.parse(name): tensor for name, tensor in artifact.tensors.items()})
