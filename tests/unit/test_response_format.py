"""What a response gives away: names, wire names, order, and the same numbers as a reference by hand."""

import math

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat, top_k
from uapfp_dist.rng import torch_rng

TOP2, TOP9 = ResponseFormat(2), ResponseFormat(9)


def slow_top_k(row: list[float], k: int) -> list[float]:
    """By hand: the largest values, of equal ones the first."""
    kept = sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
    return [value if c in kept else 0.0 for c, value in enumerate(row)]


def rows_with_ties() -> Tensor:
    """(200, 10) random values, rounded so that most rows hold ties."""
    return torch.rand(200, 10, generator=torch_rng("rows")).mul(6).round() / 10


# --- names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("probabilities", PROBABILITIES),
        ("prob", PROBABILITIES),
        ("soft", PROBABILITIES),
        ("label", LABEL),
        ("hard", LABEL),
        ("top1", ResponseFormat(1)),
        ("top3", ResponseFormat(3)),
        ("top10", ResponseFormat(10)),
        ("top999999999", ResponseFormat(999_999_999)),
    ],
)
def test_every_name_and_alias_is_known(text: str, expected: ResponseFormat) -> None:
    assert ResponseFormat.parse(text) == expected
    assert ResponseFormat.is_alias(text) == (text in ("prob", "soft", "hard"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "top", "top0", "top-1", "top03", "top3.0", "top 3", "Top3", "top3\n", "top\u0663", "top" + "9" * 5000),
        *("3", "HARD", "None", "labels", "logits", "loud\nvoice"),
    ],
)
def test_other_names_are_refused_in_one_line(text: str) -> None:
    """The known ones are listed."""
    with pytest.raises(UserError, match=r"known: probabilities, label, or top<k> such as top3") as refused:
        ResponseFormat.parse(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("fmt", "name", "wire", "extraction_wire"),
    [
        (PROBABILITIES, "probabilities", "prob", "soft"),
        (LABEL, "label", "hard", "hard"),
        (ResponseFormat(1), "top1", "top1", "top1"),
        (ResponseFormat(12), "top12", "top12", "top12"),
    ],
)
def test_names_are_read_back(fmt: ResponseFormat, name: str, wire: str, extraction_wire: str) -> None:
    """Wire names stand in ids, files and seeds: they never change."""
    assert (str(fmt), fmt.wire, fmt.extraction_wire) == (name, wire, extraction_wire)
    assert {ResponseFormat.parse(text) for text in (name, wire, extraction_wire)} == {fmt}


def test_order_is_by_what_is_given_away() -> None:
    """A label is less than its probability; all probabilities are more than any k of them."""
    formats = [PROBABILITIES, TOP2, LABEL, TOP9, ResponseFormat(1)]
    assert sorted(formats, key=lambda fmt: fmt.n_values) == [LABEL, ResponseFormat(1), TOP2, TOP9, PROBABILITIES]
    assert [fmt.n_values for fmt in formats] == [math.inf, 2, 0, 9, 1]


# --- what is given away


@pytest.mark.parametrize("k", [1, 2, 3, 9, 10, 11])
def test_the_k_largest_stay_as_they_are(k: int) -> None:
    """Against a reference by hand; the others are 0, nothing is renormalised."""
    rows, fmt = rows_with_ties(), ResponseFormat(k)
    expected = torch.tensor([slow_top_k(row, k) for row in rows.tolist()])
    for found in (fmt.apply(rows), fmt.respond(rows), top_k(rows, k)):
        assert torch.equal(found, expected)


def test_probabilities_stay_and_labels_are_ones_or_numbers() -> None:
    """Against a reference by hand: of equal probabilities the lower class."""
    rows = rows_with_ties()
    first = [row.index(max(row)) for row in rows.tolist()]
    assert torch.equal(PROBABILITIES.apply(rows), rows)
    assert torch.equal(PROBABILITIES.respond(rows), rows)
    assert LABEL.apply(rows).dtype == rows.dtype
    assert LABEL.apply(rows).tolist() == [[float(c == label) for c in range(10)] for label in first]
    assert LABEL.respond(rows).dtype == torch.int64
    assert LABEL.respond(rows).tolist() == first


def test_exactly_k_of_equal_probabilities_stay() -> None:
    """The lower classes, wherever the ties are; also in a view of 3 dimensions."""
    rows = torch.full((5, 2, 7), 1 / 7)
    masked = top_k(rows, 3)
    assert torch.equal(masked > 0, (torch.arange(7) < 3).expand(5, 2, 7))
    assert torch.equal(masked[..., :3], rows[..., :3])


def test_top_k_neither_renormalises_nor_writes_to_its_input(victim: Net, held_out: Tensor) -> None:
    """What stays is the model's own probability, and no k of C or more changes a bit."""
    responses = predict_probabilities(victim, held_out)
    before = responses.clone()
    masked = top_k(responses, 3)
    assert torch.equal(responses, before)
    assert torch.equal(masked[masked > 0], responses[masked > 0])
    assert float(masked.sum(1).min()) < 0.99
    for k in (10, 11, 1000):
        assert torch.equal(top_k(responses, k), responses)
    for k in (0, -1):
        with pytest.raises(UserError, match=f"at least 1, got {k}"):
            top_k(responses, k)
