"""Noise as another data set, and a tiny zoo whose models are stolen with its images."""

from dataclasses import replace
from typing import Any

import torch
from system import tiny
from torch import Tensor

from uapfp_dist.config.schema import Config, ControlConfig
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import Extracted, ModelSpec

N_POOL = 90


def noise(*shape: int) -> Tensor:
    """Random bytes, smooth enough that interpolation matters and not only rounding."""
    return torch.randint(256, shape, generator=torch_rng("noise"), dtype=torch.uint8)


def config(pool: str | None = "imagefolder", **extraction: Any) -> Config:
    """A tiny zoo whose stolen models come of knockoff and of Jacobian augmentation."""
    base = tiny()
    chosen = {"attacks": ("knockoff", "jacobian"), "knockoff_pool": pool, "budget": 0.2, **extraction}
    return replace(
        base,
        zoo=replace(base.zoo, architectures=("B", "C")),
        extraction=replace(base.extraction, **chosen),
        controls=ControlConfig((), n_second_hand=1, true_shares=(0.5,), n_mixed=2),
    )


def thefts(plan: Plan) -> list[tuple[Member, Extracted]]:
    """Every stolen model."""
    return [(m, m.spec.origin) for m in plan.members if isinstance(m.spec.origin, Extracted)]


def stolen(plan: Plan) -> ModelSpec:
    """The first one that was stolen from the victim with other images."""
    return next(m.spec for m, origin in thefts(plan) if m.role == Role.PIRACY and origin.pool)
