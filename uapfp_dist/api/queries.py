"""The images by which one method fingerprints a victim, and the responses of models to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    NATURAL,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    RANDOM_PROBE,
    TWINS,
    UAP,
    UAP_PROBE,
    BlockKey,
)
from uapfp_dist.fingerprints.churn import ChurnPoints, all_points, churn_labels
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.fingerprints.methods.base import Method
from uapfp_dist.fingerprints.probe import make_probe, make_probe_twin
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.fingerprints.querying import query_model
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
    several = [BlockKey(kind, f) for kind in (UAP, RANDOM, LAP, UAP_PROBE, RANDOM_PROBE) for f in fractions]
    single = (PAPER, DEEPFOOL, LAP_MINIMAL, LAP_PAPER, RANDOM_PAPER, IPGUARD)
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
    )
    return frozenset(block for one in method.candidates(everything) for block in method.query_blocks(one))


@dataclass(frozen=True)
class Answers:
    """What one model gave back."""

    responses: Responses
    twin: Responses | None
    churn: Mapping[BlockKey, Tensor]
    """Pool to (E,) int64 labels."""


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

    @staticmethod
    def make(method: Method, settings: Settings, victim: Net, data: Data, siblings: Sequence[Net]) -> Queries:
        """All that the method needs, and no more.

        Raises:
            UserError: more points or views than images.
            PermanentError: a victim that gives NaN, or never departs from its siblings.
        """
        blocks = blocks_of_method(method, settings)
        kinds = {block.kind for block in blocks}
        uap = replace(settings.uap, references=bool(kinds & REFERENCES))
        own = spec_of(victim, data.victim_set)
        spec = ProbeSpec(own, uap, settings.fingerprint, settings.seed)
        only_labels = blocks <= {CHURN, CHURN_NATURAL}
        device = next(victim.parameters()).device
        held_out = data.probe.images.to(device)
        full = _EMPTY
        if not only_labels:
            full = make_probe(victim, spec, data.victim_set.images.to(device), held_out, data.probe.labels.cpu())
        twin = None
        if kinds & {CLEAN_PROBE.kind, *TWINS.values()}:
            twin = make_probe_twin(victim, full, ProbeTwinSpec(spec), held_out)
            used = {key: block for key, block in twin.blocks.items() if BlockKey(TWINS[key.kind], key.radius) in blocks}
            twin = replace(twin, blocks=used)
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
                    f"churn: expected images of the pool {next(iter(pools))} on which the victim departs from its "
                    f"{len(siblings)} siblings, found none; take the method churn, or weaker siblings"
                )
        natural = full.natural if NATURAL in blocks else full.natural[:0]
        labels = full.natural_labels[: len(natural)]
        used = {key: block for key, block in full.blocks.items() if key in blocks}
        probe = replace(full, blocks=used, natural=natural, natural_labels=labels)
        return Queries(settings, data.n_classes, probe, spec, twin, churn)

    def ask(self, model: Net, part: Literal["all", "test"]) -> Answers:
        """Query a model once with every image: of all views, or of the test views alone.

        Raises:
            PermanentError: it gives NaN.
        """
        device = next(model.parameters()).device
        model.eval()
        responses = query_model(model, self.probe, device, part) if len(self.probe.points) else Responses({})
        twin = query_model(model, self.twin, device, part) if self.twin else None
        return Answers(responses, twin, churn_labels(model, self.churn))

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
        return matrix


_EMPTY = Probe(
    points=torch.zeros(0, 1, 1, 1),
    views=torch.zeros(0, 0, dtype=torch.int64),
    blocks={},
    natural=torch.zeros(0, 1, 1, 1),
    natural_labels=torch.zeros(0, dtype=torch.int64),
    n_test_views=0,
)
"""Where churn points alone are sent."""
