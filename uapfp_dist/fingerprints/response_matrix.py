"""The responses of all models to one probe, row by row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, ONE_VIEW, BlockKey, clean_of, twin_of
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.fingerprints.fingerprint import fingerprints
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import ProbeSpec

FORMATS = (PROBABILITIES, LABEL)


@dataclass(frozen=True)
class ResponseMatrix:
    """Row 0 is the victim; `members[i]` stands in row i.

    Rows that train an encoder hold responses to all views; of the others the first responses of every block, which the
    test views need, are enough. Scores are made of those alone.
    """

    members: tuple[Member, ...]
    responses: tuple[Responses, ...]
    views: Tensor
    """(V, n) int64 into the points, which stand in order of first appearance."""
    gather: dict[BlockKey, Tensor]
    """Perturbed block to (V, n) int64 into its responses, likewise."""
    n_test_views: int
    natural_labels: Tensor
    """(E,) the victim's label on its natural errors and lowest margins."""
    n_natural: int
    """How many of those a suspect is sent."""
    fractions: tuple[float, ...]
    """Fractions of the paper's xi that a method may choose from."""
    formats: tuple[ResponseFormat, ...] = FORMATS
    """Formats that a method may choose from."""
    probe_views: Tensor | None = None
    """(V, n) int64 into the points of PROBE; None: there are no such blocks."""
    churn: Mapping[BlockKey, Tensor] = field(default_factory=dict)
    """Pool to (M, E) int64 labels on its churn points; of them nothing else is known."""
    churn_candidates: Mapping[BlockKey, Candidates] = field(default_factory=dict)
    """Pool to its points."""
    n_churn: int = 0
    """How many of those a suspect is sent."""
    natural_truth: Tensor | None = None
    """(E,) int64: the true labels beside `natural_labels`; None: not known."""

    @staticmethod
    def from_responses(
        members: Sequence[Member],
        responses: Sequence[Responses],
        probe: Probe,
        spec: ProbeSpec,
        formats: tuple[ResponseFormat, ...] = FORMATS,
    ) -> "ResponseMatrix":
        """The matrix of `members`, the victim first."""
        assert members[0].role == Role.VICTIM
        return ResponseMatrix(
            members=tuple(members),
            responses=tuple(responses),
            views=probe.views,
            gather={key: block.gather for key, block in probe.blocks.items()},
            n_test_views=probe.n_test_views,
            natural_labels=probe.natural_labels,
            n_natural=spec.fingerprint.n_natural,
            fractions=spec.uap.xi_fractions,
            formats=formats,
        )

    def fingerprints(
        self, rows: Sequence[int], block: BlockKey, fmt: ResponseFormat, n_views: int | None = None
    ) -> Tensor:
        """(len(rows), V, D) fingerprints of Eq. 6, of the first `n_views` views or all."""
        views = self._views_of(clean_of(block))[:n_views]
        gather = None if block == clean_of(block) else self.gather[block][:n_views]
        first, *rest = rows
        one = fingerprints(self.responses[first], views, gather, block, fmt)
        found = one.new_empty(len(rows), *one.shape)  # stacking a list of them would take the memory twice
        found[0] = one
        for i, row in enumerate(rest, start=1):
            found[i] = fingerprints(self.responses[row], views, gather, block, fmt)
        return found

    def per_model(self, block: BlockKey, fmt: ResponseFormat, of: Callable[[Tensor], Tensor]) -> Tensor:
        """(M, ...) what `of` makes of each model's responses (S, C) to the images of `block` that suspects are sent."""
        end = len(self.natural_labels) if block == NATURAL else int(self.query_index(block).max()) + 1
        return torch.stack([of(fmt.apply(answers.blocks[block][:end])) for answers in self.responses])

    def labels(self, block: BlockKey) -> Tensor:
        """(M, S) int64 labels of every model on the images of `block` that suspects are sent; all of churn points."""
        if block in self.churn:
            return self.churn[block]
        return self.per_model(block, PROBABILITIES, lambda p: p.argmax(1))

    def query_index(self, block: BlockKey) -> Tensor:
        """(V, n) rows of `block` that the test views use; (1, n) for a block that has no views."""
        if block == NATURAL:
            return torch.arange(min(self.n_natural, len(self.natural_labels)))[None]
        if block in self.churn:
            return self.first_churn(block)[None]
        return (self._views_of(block) if block == clean_of(block) else self.gather[block])[: self.n_test_views]

    def _views_of(self, clean: BlockKey) -> Tensor:
        if clean == CLEAN:
            return self.views
        assert self.probe_views is not None
        return self.probe_views

    def n_query_images(self, *blocks: BlockKey) -> int:
        """Unique images a suspect is sent for the test views of `blocks`."""
        return sum(len(self.query_index(block).unique()) for block in blocks)

    def within_budget(self, budget: int, *blocks: BlockKey) -> "ResponseMatrix":
        """The matrix of suspects that may be sent `budget` images in all, of `blocks`.

        Of blocks with views as many first views as fit, possibly none; of the others as many images as there are.

        Raises:
            UserError: a budget below 1.
        """
        if budget < 1:
            raise UserError(f"query budget: expected at least 1 image, got {budget}; raise it")
        viewed = [block for block in blocks if block.kind not in (NATURAL.kind, *ONE_VIEW) and block not in self.churn]
        sizes = (replace(self, n_test_views=n).n_query_images(*viewed) for n in range(1, self.n_test_views + 1))
        return replace(
            self,
            n_test_views=sum(size <= budget for size in sizes),
            n_natural=budget,
            n_churn=budget,
            gather={key: index[:, :budget] if key.kind in ONE_VIEW else index for key, index in self.gather.items()},
        )

    def with_probe_twin(self, twin: Probe, responses: Sequence[Responses]) -> "ResponseMatrix":
        """The matrix with the blocks on points of PROBE.

        Args:
            twin: that probe.
            responses: to it, of every row.
        """
        more = [{twin_of(key): part for key, part in one.blocks.items()} for one in responses]
        gather = {twin_of(key): block.gather for key, block in twin.blocks.items()}
        return replace(self._with_blocks(more, gather), probe_views=twin.views)

    def with_references(self, probe: Probe, responses: Sequence[Responses], on_probe: bool) -> "ResponseMatrix":
        """The matrix with the blocks of references, whose points are those that it has.

        Args:
            probe: made of the probe of the matrix, or of its twin.
            responses: to it, of every row.
            on_probe: its points are those of the twin.
        """

        def named(key: BlockKey) -> BlockKey:
            return twin_of(key) if on_probe else key

        more = [{named(key): one.blocks[key] for key in probe.blocks} for one in responses]
        found = self._with_blocks(more, {named(key): block.gather for key, block in probe.blocks.items()})
        return replace(found, natural_truth=self.natural_truth if on_probe else probe.natural_truth)

    def _with_blocks(
        self, more: Sequence[Mapping[BlockKey, Tensor]], gather: Mapping[BlockKey, Tensor]
    ) -> "ResponseMatrix":
        both = zip(self.responses, more, strict=True)
        return replace(
            self,
            responses=tuple(Responses({**one.blocks, **added}) for one, added in both),
            gather={**self.gather, **gather},
        )

    def with_churn(
        self, labels: Sequence[Mapping[BlockKey, Tensor]], candidates: Mapping[BlockKey, Candidates], n_churn: int
    ) -> "ResponseMatrix":
        """The matrix with the labels (E,) of every row on the churn points of every pool."""
        stacked = {key: torch.stack([one[key] for one in labels]) for key in labels[0]}
        return replace(self, churn=stacked, churn_candidates=candidates, n_churn=n_churn)

    def first_churn(self, pool: BlockKey) -> Tensor:
        """(n,) int64: the churn points of largest margin, as many as a suspect is sent."""
        return self.churn_candidates[pool].first(torch.arange(self.churn[pool].shape[1]), self.n_churn)
