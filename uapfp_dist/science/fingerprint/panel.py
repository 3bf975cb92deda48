"""The answers of all models to one probe, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.science.fingerprint.probe import as_format, fingerprints
from uapfp_dist.specs import Format, ProbeSpec
from uapfp_dist.types import Answers, Member, Probe

CLEAN = "clean"


@dataclass(frozen=True)
class Panel:
    """Row 0 is the victim; `members[i]` stands in row i."""

    members: tuple[Member, ...]
    answers: tuple[Answers, ...]
    views: Tensor
    """(V, n) int64 into the points."""
    gather: dict[str, Tensor]
    """Perturbed block to (V, n) int64 into its answers."""
    n_test_views: int
    natural_labels: Tensor
    """(E,) the victim's label on its natural errors and lowest margins."""
    n_natural: int
    """How many of those a suspect is asked."""
    fractions: tuple[float, ...]
    """Fractions of the paper's xi that a method may choose from."""

    @staticmethod
    def of(members: Sequence[Member], answers: Sequence[Answers], probe: Probe, spec: ProbeSpec) -> "Panel":
        """Gather a panel; the victim must be the first member."""
        assert members[0].role == "victim"
        return Panel(
            members=tuple(members),
            answers=tuple(answers),
            views=probe.views,
            gather={name: block.gather for name, block in probe.blocks.items()},
            n_test_views=spec.fingerprint.n_test_views,
            natural_labels=probe.natural_labels,
            n_natural=spec.fingerprint.n_natural,
            fractions=spec.uap.xi_fractions,
        )

    def fingerprints(self, rows: Sequence[int], block: str, fmt: Format, n_views: int | None = None) -> Tensor:
        """(len(rows), V, D) fingerprints of Eq. 6, of the first `n_views` views or all."""
        views = self.views[:n_views]
        gather = None if block == CLEAN else self.gather[block][:n_views]
        return torch.stack([fingerprints(self.answers[row], views, gather, block, fmt) for row in rows])

    def block(self, name: str, fmt: Format) -> Tensor:
        """(M, S, C) answers of every model to block `name`."""
        return torch.stack([as_format(answers.blocks[name], fmt) for answers in self.answers])

    def asked(self, block: str) -> Tensor:
        """(V, n) rows of block `block` that the test views use."""
        index = self.views if block == CLEAN else self.gather[block]
        return index[: self.n_test_views]

    def images(self, *blocks: str) -> int:
        """Unique images a suspect is sent for the test views of `blocks`."""
        return sum(len(torch.unique(self.asked(block))) for block in blocks)
