"""What a model gives away in a response: all probabilities, the k largest of them, or a bare label."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError

KNOWN = "probabilities, label, or top<k> such as top3 (the k largest probabilities)"
_ALIASES = {"prob": None, "soft": None, "hard": 0}
"""Wire names; also what earlier versions took on the command line."""


@dataclass(frozen=True)
class ResponseFormat:
    """`probabilities`, `top<k>` or `label` (protocol 2.16): of victims, which attackers query, and suspects."""

    k: int | None
    """Confidences in a response: None all of them, 0 none (the label), else the k largest."""

    @staticmethod
    def parse(text: str, *, argument: str = "") -> ResponseFormat:
        """The format of that name or wire name; `argument` is where it was given, for the error.

        Raises:
            UserError: another name; lists the known ones.
        """
        names = {"probabilities": None, "label": 0, **_ALIASES}
        if text in names:
            return ResponseFormat(names[text])
        match = re.fullmatch(r"top([1-9][0-9]{0,8})", text)
        if match is None:
            raise UserError(f"unknown response format {text!r:.60}; known: {KNOWN}", argument=argument)
        return ResponseFormat(int(match[1]))

    @staticmethod
    def is_alias(text: str) -> bool:
        """Whether it is a name that only earlier versions took."""
        return text in _ALIASES

    def __str__(self) -> str:
        return {None: "probabilities", 0: "label"}.get(self.k, f"top{self.k}")

    @property
    def wire(self) -> str:
        """As files, reports and ids of suspects' responses name it: `prob`, `top<k>`, `hard`."""
        return {None: "prob", 0: "hard"}.get(self.k, f"top{self.k}")

    @property
    def extraction_wire(self) -> str:
        """As ids and cards of extracted models name what their victim gave away: `soft`, `top<k>`, `hard`."""
        return "soft" if self.k is None else self.wire

    @property
    def n_values(self) -> float:
        """Confidences in a response: the order of formats by what they give away."""
        return math.inf if self.k is None else self.k

    def apply(self, probabilities: Tensor) -> Tensor:
        """(Q, C) probabilities as a response shows them: (Q, C), 0 outside the k largest, labels one-hot.

        Nothing is renormalised (protocol 2.16).
        """
        if self.k is None:
            return probabilities
        if self.k == 0:
            return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()
        return top_k(probabilities, self.k)

    def respond(self, probabilities: Tensor) -> Tensor:
        """The same with (Q,) int64 labels instead of one-hot ones: what an API sends."""
        return probabilities.argmax(1) if self.k == 0 else self.apply(probabilities)

    def targets(self, responses: Tensor) -> Tensor:
        """Such responses as a net is trained on them: the k largest probabilities are rescaled to a distribution."""
        if self.k and self.k < responses.shape[1]:
            return responses / responses.sum(1, keepdim=True)
        return responses


PROBABILITIES = ResponseFormat(None)
LABEL = ResponseFormat(0)


def top_k(probabilities: Tensor, k: int) -> Tensor:
    """Probabilities (..., C) with all but the `k` largest set to 0, not renormalised (protocol 2.16).

    Exactly min(k, C) stay: of equal ones that of the lower class. `k` of C or more gives them all, as the same bits.

    Raises:
        UserError: `k` below 1.
    """
    if k < 1:
        raise UserError(f"top_k: expected k of at least 1, got {k}")
    # torch.topk promises nothing about ties; a stable sort does, on every device.
    largest = probabilities.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(probabilities).scatter(-1, largest, probabilities.gather(-1, largest))
