"""The answers of all models to one probe, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.science.fingerprint.probe import as_format, fingerprints, unique_queries
from uapfp_dist.types import Answers, Format, Member, Probe


@dataclass(frozen=True)
class Panel:
    """Row 0 is the victim; `members[i]` stands in row i."""

    members: tuple[Member, ...]
    answers: tuple[Answers, ...]
    views: Tensor
    """(V, n) int64 into the points."""
    n_test_views: int
    natural_labels: Tensor
    """(E,) the victim's label on its natural errors and lowest margins."""
    n_natural: int
    """How many of those a suspect is asked."""
    fractions: tuple[float, ...]
    """Fractions of the paper's xi for which there are answers."""

    @staticmethod
    def of(members: Sequence[Member], answers: Sequence[Answers], probe: Probe, n_test: int, n_natural: int) -> "Panel":
        """Gather a panel; the victim must be the first member."""
        assert members[0].role == "victim"
        fractions = tuple(sorted(float(f) for f in probe.info["uaps"]))
        return Panel(tuple(members), tuple(answers), probe.views, n_test, probe.natural_labels, n_natural, fractions)

    def rows(self, *roles: str) -> list[int]:
        """Rows of the members with one of `roles`."""
        return [i for i, member in enumerate(self.members) if member.role in roles]

    @property
    def test_views(self) -> Tensor:
        """The views a suspect is asked: the first n_test_views."""
        return self.views[: self.n_test_views]

    def fingerprints(self, rows: Sequence[int], block: str, fmt: Format, views: Tensor) -> Tensor:
        """(len(rows), V, D) fingerprints of Eq. 6."""
        return torch.stack([fingerprints(self.answers[row], views, block, fmt) for row in rows])

    def block(self, name: str, fmt: Format) -> Tensor:
        """(M, Q, C) answers of every model to block `name`."""
        return torch.stack([as_format(answers.blocks[name], fmt) for answers in self.answers])

    def queries(self, block: str) -> int:
        """Images a suspect is sent for one block's fingerprints."""
        return unique_queries(self.test_views, block)
