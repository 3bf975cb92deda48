"""What a model gives away in its responses: probabilities, the k largest of them, or a label."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError

Labels = str
"""What a victim's API gives away: `soft` (probabilities), `top3` (the three largest, any number), `hard` (a label)."""


Format = str
"""The same of a suspect: `prob`, `top3`, `hard`. A value outside the top k counts as 0, nothing is renormalised."""


def k_of(name: str) -> int:
    """The k of a name such as `top3`: how many of its largest probabilities a model tells.

    Raises:
        UserError: `name` is not `top` and a whole number from 1.
    """
    match = re.fullmatch(r"top([1-9][0-9]{0,8})", name)
    if match is None:
        raise UserError(f"expected `top` and a whole number from 1, such as top3, got {name!r:.60}")
    return int(match[1])


def check_labels(labels: Labels) -> None:
    """Accept what a victim's API can give away: `soft`, `hard` or `top<k>`.

    Raises:
        UserError: any other name; lists the known forms.
    """
    if labels in ("soft", "hard"):
        return
    try:
        k_of(labels)
    except UserError:
        raise UserError(
            f"unknown labels {labels!r}; known: hard (a label), soft (probabilities), "
            "top<k> such as top3 (the k largest probabilities)"
        ) from None


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


def as_format(probabilities: Tensor, fmt: Format) -> Tensor:
    """(Q, C) probabilities as an API of that kind gives them away.

    `prob`: as they are; `top<k>`: 0 outside the k largest, not renormalised (protocol 2.16); `hard`: one-hot labels.

    Raises:
        UserError: any other format.
    """
    if fmt == "prob":
        return probabilities
    if fmt == "hard":
        return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()
    return top_k(probabilities, k_of(fmt))


def n_values(fmt: Format) -> float:
    """How many numbers an answer of that format holds: the order of formats by what they give away."""
    return math.inf if fmt == "prob" else 0 if fmt == "hard" else k_of(fmt)
