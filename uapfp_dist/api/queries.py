"""The images by which one method fingerprints a victim, and the responses of models to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from uapfp_dist.api.checks import spec_of
from uapfp_dist.api.data import Data
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import (
    CHURN,
    CHURN_NATURAL,
    CHURN_RANDOM,
    CHURN_UAP,
    CLEAN_PROBE,
    DEEPFOOL,
    IPGUARD,
    IPGUARD_K,
    IPGUARD_K_PROBE,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    LAP_PROBE,
    NATURAL,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    RANDOM_PROBE,
    TWINS,
    UAP,
    UAP_PROBE,
    BlockKey,
    twin_of,
)
from uapfp_dist.fingerprints.churn import ChurnPoints, all_points, churn_labels
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.fingerprints.ipguard_targets import K_GRID
from uapfp_dist.fingerprints.methods.base import Method
from uapfp_dist.fingerprints.methods.sample_correlation import SampleCorrelation
from uapfp_dist.fingerprints.probe import make_probe, make_probe_twin
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.fingerprints.references import make_references, make_twin_references, true_labels_of
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.models import Net
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.churn_specs import ChurnSpec
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.method_configs import ChurnConfig, FingerprintConfig, UapConfig
from uapfp_dist.tasks.specs import ProbeSpec, ProbeTwinSpec

POOLS = (CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM)
REFERENCES = frozenset(block.kind for block in (DEEPFOOL, LAP_MINIMAL, IPGUARD, CHURN_UAP, CHURN_RANDOM))
REFERENCES |= {RANDOM, LAP, RANDOM_PROBE}
"""Kinds of blocks that take the perturbations that UAPs are compared with."""
MADE_APART = frozenset(twin_of(block) for block in (PAPER, DEEPFOOL, LAP_MINIMAL, LAP_PAPER, RANDOM_PAPER))
"""Blocks on points of PROBE that `make_twin_references` makes, beside those of `LAP_PROBE` and `IPGUARD_K_PROBE`."""


@dataclass(frozen=True)
class Settings:
    """Which images, how many."""

    uap: UapConfig
    fingerprint: FingerprintConfig
    churn: ChurnConfig
    formats: tuple[ResponseFormat, ...]
    seed: int


def blocks_of_method(method: Method, settings: Settings) -> frozenset[BlockKey]:
    """Every block that a method may query with, by any of its candidates."""
    fractions, none = settings.uap.xi_fractions, torch.zeros(0, 0, dtype=torch.int64)
    kinds = (UAP, RANDOM, LAP, UAP_PROBE, RANDOM_PROBE, LAP_PROBE)
    several = [BlockKey(kind, f) for kind in kinds for f in fractions]
    several += [BlockKey(kind, k) for kind in (IPGUARD_K, IPGUARD_K_PROBE) for k in K_GRID]
    single = (PAPER, DEEPFOOL, LAP_MINIMAL, LAP_PAPER, RANDOM_PAPER, IPGUARD, *MADE_APART)
    everything = ResponseMatrix(
        members=(),
        responses=(),
        views=none,
        gather=dict.fromkeys((*several, *single), none),
        n_test_views=0,
        natural_labels=none.flatten(),
        n_natural=0,
        fractions=fractions,
        formats=settings.formats,
        probe_views=none,
        churn=dict.fromkeys(POOLS, none),
        natural_truth=none.flatten(),
    )
    return frozenset(block for one in method.candidates(everything) for block in method.query_blocks(one))


@dataclass(frozen=True)
class Answers:
    """The responses of one model."""

    responses: Responses
    twin: Responses | None
    churn: Mapping[BlockKey, Tensor]
    """Pool to (E,) int64 labels."""
    references: tuple[Responses, ...] = ()
    """To each of the references."""


@dataclass(frozen=True)
class References:
    """What a method needs beside the probe or its twin."""

    probe: Probe
    on_probe: bool
    """Its points are those of the twin."""


@dataclass(frozen=True)
class Queries:
    """The images of one method for one victim."""

    settings: Settings
    n_classes: int
    probe: Probe
    """Without blocks that the method does not use."""
    spec: ProbeSpec
    twin: Probe | None
    """The probe on points of PROBE."""
    churn: Mapping[BlockKey, ChurnPoints]
    references: tuple[References, ...] = ()

    @staticmethod
    def make(method: Method, settings: Settings, victim: Net, data: Data, siblings: Sequence[Net]) -> Queries:
        """Exactly what the method needs.

        Raises:
            UserError: more points or views than images.
            PermanentError: a victim that gives NaN, or never disagrees with its siblings.
        """
        blocks = blocks_of_method(method, settings)
        kinds = {block.kind for block in blocks}
        uap = replace(settings.uap, references=bool(kinds & REFERENCES or blocks & MADE_APART or LAP_PROBE in kinds))
        own = spec_of(victim, data.victim_set)
        spec = ProbeSpec(own, uap, settings.fingerprint, settings.seed)
        only_labels = blocks <= {CHURN, CHURN_NATURAL}
        needs_truth = isinstance(method, SampleCorrelation) and method.in_common
        device = next(victim.parameters()).device
        held_out = data.probe.images.to(device)
        full = _EMPTY
        if not only_labels:
            full = make_probe(victim, spec, data.victim_set.images.to(device), held_out, data.probe.labels.cpu())
        twin, references = None, []
        if kinds & {CLEAN_PROBE.kind, *TWINS.values()}:
            twin = make_probe_twin(victim, full, ProbeTwinSpec(spec), held_out)
            if blocks & MADE_APART or kinds & {LAP_PROBE, IPGUARD_K_PROBE}:
                more = make_twin_references(victim, full, twin, K_GRID, spec.id)
                references.append(References(_only(more, blocks, twin_of), True))
            twin = _only(twin, blocks, twin_of)
        if IPGUARD_K in kinds or needs_truth:
            truth = true_labels_of(full.natural, held_out, data.probe.labels)
            references.append(References(_only(make_references(victim, full, K_GRID, spec.id, truth), blocks), False))
        churn: Mapping[BlockKey, ChurnPoints] = {}
        if pools := blocks & set(POOLS):
            config = replace(settings.churn, twins=pools != {CHURN})
            committee = tuple(spec_of(sibling) for sibling in siblings)
            name = ChurnSpec(own, committee, config, settings.seed).id
            moved_by = None if only_labels else full
            found = all_points(victim, siblings, data.probe.images, moved_by, config, name)
            churn = {pool: points for pool, points in found.items() if pool in pools}
            if not churn:
                raise UserError(
                    f"churn: expected images of the pool {next(iter(pools))} on which the victim disagrees with its "
                    f"{len(siblings)} siblings, found none; take the method churn, or weaker siblings"
                )
        natural = full.natural if NATURAL in blocks else full.natural[:0]
        labels = full.natural_labels[: len(natural)]
        used = {key: block for key, block in full.blocks.items() if key in blocks}
        probe = replace(full, blocks=used, natural=natural, natural_labels=labels)
        return Queries(settings, data.n_classes, probe, spec, twin, churn, tuple(references))

    def ask(self, model: Net, part: Literal["all", "test"]) -> Answers:
        """Query a model once with every image: of all views, or of the test views alone.

        Raises:
            PermanentError: the model gives NaN.
        """
        device = next(model.parameters()).device
        model.eval()
        responses = query_model(model, self.probe, device, part) if len(self.probe.points) else Responses({})
        twin = query_model(model, self.twin, device, part) if self.twin else None
        references = tuple(query_model(model, one.probe, device, part) for one in self.references)
        return Answers(responses, twin, churn_labels(model, self.churn), references)

    def matrix(self, members: Sequence[Member], answers: Sequence[Answers]) -> ResponseMatrix:
        """The responses of `members`, the victim first."""
        responses = [one.responses for one in answers]
        matrix = ResponseMatrix.from_responses(members, responses, self.probe, self.spec, self.settings.formats)
        if self.churn:
            config = self.settings.churn
            candidates = {key: Candidates(points.base, config.per_image) for key, points in self.churn.items()}
            matrix = matrix.with_churn([one.churn for one in answers], candidates, config.n_points)
        if self.twin:
            matrix = matrix.with_probe_twin(self.twin, [one.twin for one in answers if one.twin])
        for i, one in enumerate(self.references):
            matrix = matrix.with_references(one.probe, [each.references[i] for each in answers], one.on_probe)
        return matrix


def _only(probe: Probe, blocks: frozenset[BlockKey], named: Callable[[BlockKey], BlockKey] = lambda key: key) -> Probe:
    """`probe` without blocks that are not among `blocks` under their names there."""
    return replace(probe, blocks={key: block for key, block in probe.blocks.items() if named(key) in blocks})


_EMPTY = Probe(
    points=torch.zeros(0, 1, 1, 1),
    views=torch.zeros(0, 0, dtype=torch.int64),
    blocks={},
    natural=torch.zeros(0, 1, 1, 1),
    natural_labels=torch.zeros(0, dtype=torch.int64),
    n_test_views=0,
)
"""Where churn points alone are sent."""
