"""Clean images that tell whether a suspect sees what it is sent: no evidence for or against anybody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from uapfp_dist.suspects.output_format import OutputFormat

N_FIRST = 12
"""Images that are sent before all others. On a kit of digits they stop every model that takes bytes or [-1, 1] and is
sent [0, 1], and 4 in 10 of those that expect MNIST's mean and std; no model of the kit that did not choose them."""


RESIZED = 1
"""Labels that resizing may change."""


@dataclass(frozen=True)
class InputCheck:
    """A kit's clean images with the label that most of its models give; N images, M models that calibrate or test.

    The first are those that most models agree on, one of each class after the other: a suspect that sees noise gives
    one label to all.
    """

    images: Tensor
    """(N,) int64 indices of a kit's images."""
    labels: Tensor
    """(N,) int64: the label that most models of the kit give; what the victim says plays no part."""
    agrees: Tensor
    """(M, N) bool: which models give it."""

    @cached_property
    def first(self) -> Tensor:
        """(K,) int64: the images that a suspect is sent first."""
        return self.images[:N_FIRST]

    def result(
        self,
        form: OutputFormat,
        responses: Mapping[int, Sequence[object]],
        part: tuple[int, int] = (0, N_FIRST),
        *,
        resized: bool = False,
    ) -> "InputCheckResult":
        """How a suspect did on those images of a part that it answered, beside the models of the kit.

        Args:
            form: how its responses are read; one that cannot be read agrees with nobody.
            responses: image to its responses, the first one first.
            part: first and last of the images, of N.
            resized: it was sent them at another size, which no model of the kit was.
        """
        rows = [i for i in range(len(self.images))[slice(*part)] if int(self.images[i]) in responses]
        probabilities = form.parse([responses[int(self.images[i])][0] for i in rows]).probabilities
        agrees = (probabilities.argmax(1) == self.labels[rows]) & probabilities.isfinite().all(1)
        least = int(self.agrees[:, rows].sum(1).min())
        return InputCheckResult(int(agrees.sum()), len(rows), least, RESIZED if resized else 0)

    def joined(self, before: "InputCheckResult", after: "InputCheckResult", n_images: int) -> "InputCheckResult":
        """Results on two parts, together the first `n_images`, as one."""
        least = int(self.agrees[:, :n_images].sum(1).min())
        return InputCheckResult(before.agreed + after.agreed, before.of + after.of, least, before.tolerated)


@dataclass(frozen=True)
class InputCheckResult:
    """How often a suspect gives the label that most models of the kit give."""

    agreed: int
    of: int
    """Clean images that it answered."""
    least: int
    """Of those, at least as many labels as every model of the kit gives."""
    tolerated: int = 0
    """Labels fewer that still pass."""

    @property
    def passed(self) -> bool:
        """It agrees as much as a model of the kit."""
        return self.agreed >= self.least - self.tolerated

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"gives the usual label to {self.agreed} of {self.of} clean images, every model of the kit to at least "
            f"{self.least}"
        )


def choose_input_check(clean: Tensor, labels: Tensor) -> InputCheck:
    """The clean images in the order in which they check the input.

    Args:
        clean: (N,) int64 indices of them.
        labels: (M, Q) int64: the label of each model of the kit for each of its images.
    """
    given = labels[:, clean]
    usual = given.mode(0).values
    agrees = given == usual
    rank: dict[int, int] = {}
    seen: dict[int, int] = {}
    for i in agrees.sum(0).argsort(descending=True, stable=True).tolist():
        label = int(usual[i])
        rank[i] = seen.get(label, 0)
        seen[label] = rank[i] + 1
    order = torch.tensor(sorted(rank, key=rank.__getitem__))
    return InputCheck(clean[order], usual[order], agrees[:, order].contiguous())
