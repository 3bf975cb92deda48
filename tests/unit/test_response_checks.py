"""Answers that no trained classifier would give: each is named, and none of them leads to an accusation."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from toy_kit import negative, responses_of, toy_kit, trained

from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.response_checks import Finding, check_responses
from uapfp_dist.verification.judging.verdict import SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.kit import Kit

Rows = np.ndarray
"""(Q, C) probabilities."""


def case(
    kit: Kit,
    say: Callable[[Rows], list[Any]],
    output: str = "probabilities",
    again: Callable[[Rows], list[Any]] | None = None,
) -> tuple[list[Finding], SuspectVerdict]:
    """What is found, and what is claimed, of a copy of the victim whose responses pass through `say`."""
    stolen = responses_of(trained(0), kit.images).double().numpy()
    first, second = say(stolen), (again or say)(stolen)
    answers = {i: [first[i], second[i]] if i % 10 == 0 else [first[i]] for i in range(len(first))}
    form = OutputFormat(output, kit.class_names)
    probabilities, found = check_responses(kit, form, answers)
    fatal = any(finding.fatal for finding in found)
    answered = SuspectResponses("s", probabilities, form.format, tuple(f.text for f in found), fatal)
    return found, judge(kit, [answered])[0]


def noise(p: Rows) -> list[Any]:
    """Well-formed confidences that have nothing to do with the image, the same at every call."""
    return np.random.default_rng(0).dirichlet(np.ones(p.shape[1]) * 0.2, len(p)).tolist()  # type: ignore[no-any-return]


def test_what_cannot_be_read_twice_says_nothing_about_change() -> None:
    """An answer that is the same both times has not changed, whether it can be read or not; one that could be has."""
    kit = toy_kit()
    same, _ = case(kit, lambda p: [None if i == 0 else row.tolist() for i, row in enumerate(p)])
    assert [f.text for f in same] == ["1 of 110 answers cannot be used: " + same[0].text.rpartition(": ")[2]]
    once, _ = case(kit, lambda p: p.tolist(), again=lambda p: [None, *p.tolist()[1:]])
    assert [(f.text, f.fatal) for f in once] == [
        ("of 1 of 11 images sent twice only one of the two answers can be read", False)
    ]
    lost, _ = case(kit, lambda p: p.tolist(), again=lambda p: [None] * len(p))
    assert any("change from call to call: 11 of 11 images" in f.text for f in lost)


def fresh_noise() -> Callable[[Rows], list[Any]]:
    """The same, new at every call."""
    rng = np.random.default_rng(1)
    return lambda p: rng.dirichlet(np.ones(p.shape[1]) * 0.2, len(p)).tolist()  # type: ignore[no-any-return]


def changed_order(p: Rows) -> list[Any]:
    """The right answers, the classes in another order."""
    return np.roll(p, 3, axis=1).tolist()  # type: ignore[no-any-return]


def pairs(row: Rows, k: int) -> list[list[Any]]:
    """The k largest of a row, with their names."""
    return [[str(j), float(row[j])] for j in row.argsort()[-k:]]


INSANE: dict[str, tuple[Callable[[Rows], list[Any]], str, str]] = {
    "constant": (lambda p: [p[0].tolist()] * len(p), "probabilities", "same answer"),
    "constant label": (lambda p: [3] * len(p), "label", "same answer"),
    "uniform": (lambda p: [[0.1] * 10] * len(p), "probabilities", "same answer|rounded"),
    "noise": (noise, "probabilities", "fewer than any trained model"),
    "fresh noise": (fresh_noise(), "probabilities", "change from call to call"),
    "noise in labels": (lambda p: np.array(noise(p)).argmax(1).tolist(), "label", "fewer than any trained model"),
    "too few classes": (lambda p: p[:, :9].tolist(), "probabilities", "expected 10 classes, got 9"),
    "too many classes": (lambda p: np.hstack([p, p[:, :1]]).tolist(), "probabilities", "expected 10 classes, got 11"),
    "class that there is not": (lambda p: [int(i) + 5 for i in p.argmax(1)], "label", "one of the kit's classes"),
    "one NaN": (lambda p: [*p[:-1].tolist(), [float("nan")] * 10], "probabilities", "1 of .* not a finite"),
    "all NaN": (lambda p: [[None] * 10] * len(p), "probabilities", "not a finite"),
    "unnormalised": (lambda p: (p * 1.5).tolist(), "probabilities", "not normalised"),
    "percent": (lambda p: (p * 100).tolist(), "probabilities", "not normalised"),
    "sigmoids": (lambda p: (1 / (1 + np.exp(-np.log(p + 1e-9)))).tolist(), "probabilities", "not normalised"),
    "logits for probabilities": (lambda p: np.log(p + 1e-9).tolist(), "probabilities", "output logits"),
    "probabilities for logits": (lambda p: p.tolist(), "logits", "output probabilities"),
    "labels for probabilities": (lambda p: np.eye(10)[p.argmax(1)].tolist(), "probabilities", "output label"),
    "one decimal": (lambda p: p.round(1).tolist(), "probabilities", "rounded to 1 decimals"),
    "another order of classes": (changed_order, "probabilities", "another order"),
    "another order in labels": (lambda p: np.array(changed_order(p)).argmax(1).tolist(), "label", "another order"),
    "top pairs above 1": (
        lambda p: [[[str(j), 0.9] for j in r.argsort()[-2:]] for r in p],
        "top2",
        "normalised|rounded",
    ),
    "too few pairs": (lambda p: [pairs(r, 2) for r in p], "top3", "expected 3 classes with confidences, got 2"),
    "a confidence of 0": (lambda p: [[[str(r.argmax()), 0.0]] for r in p], "top1", "confidence above 0"),
    "top pairs in parts per thousand": (lambda p: [pairs(r / 10, 3) for r in p], "top3", "not normalised"),
    "no pairs": (lambda p: p.max(1).tolist(), "top2", "expected classes"),
}


@pytest.mark.parametrize("name", INSANE)
@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
def test_insane_responses_are_named_and_accuse_nobody(name: str, method: str) -> None:
    """Though it is a copy that responds, and any score might come out high."""
    say, output, said = INSANE[name]
    found, verdict = case(toy_kit(method), say, output)
    assert any(finding.fatal for finding in found)
    assert re.search(said, " ".join(finding.text for finding in found))
    assert verdict.claim == "inconclusive"
    assert verdict.findings


SANE: dict[str, tuple[Callable[[Rows], list[Any]], str]] = {
    "probabilities": (lambda p: p.tolist(), "probabilities"),
    "logits": (lambda p: np.log(p + 1e-12).tolist(), "logits"),
    "float16": (lambda p: p.astype(np.float16).astype(float).tolist(), "probabilities"),
    "three decimals": (lambda p: p.round(3).tolist(), "probabilities"),
    "two decimals": (lambda p: p.round(2).tolist(), "probabilities"),
    "labels": (lambda p: p.argmax(1).tolist(), "label"),
    "labels as names": (lambda p: [str(i) for i in p.argmax(1)], "label"),
    "top pairs": (lambda p: [pairs(r, 3) for r in p], "top3"),
    "top pairs of all classes": (lambda p: [pairs(r, 10) for r in p], "top12"),
    "two decimals in top pairs": (lambda p: [pairs(r.round(2), 3) for r in p], "top3"),
}


@pytest.mark.parametrize("name", SANE)
def test_sane_responses_of_a_thief_are_piracy(name: str) -> None:
    say, output = SANE[name]
    found, verdict = case(toy_kit(), say, output)
    assert not any(finding.fatal for finding in found)
    assert verdict.claim == "piracy"
    assert bool(found) == ("decimals" in name)


@pytest.mark.parametrize("output", ["probabilities", "label"])
def test_a_negative_is_sane_and_not_accused(output: str) -> None:
    """Other data, one in four clean labels unlike the victim's: no reason to doubt its answers."""
    kit = toy_kit("uap")
    p = responses_of(negative(), kit.images)
    answers = {i: [row, row] for i, row in enumerate(p.tolist() if output == "probabilities" else p.argmax(1).tolist())}
    form = OutputFormat(output, kit.class_names)
    probabilities, found = check_responses(kit, form, answers)
    assert found == []
    assert judge(kit, [SuspectResponses("s", probabilities, form.format)])[0].claim == "inconclusive"


def test_jitter_is_named_and_forgiven_flips_are_not() -> None:
    def jitter(p: Rows) -> list[Any]:
        return (p * 0.99 + 0.001).tolist()  # type: ignore[no-any-return]

    found, verdict = case(toy_kit(), lambda p: p.tolist(), again=jitter)
    assert [f.fatal for f in found] == [False]
    assert "change a little" in found[0].text
    assert verdict.claim == "piracy"
    found, verdict = case(toy_kit(), lambda p: p.tolist(), again=changed_order)
    assert any(f.fatal for f in found)
    assert verdict.claim == "inconclusive"


def test_what_was_not_tried_is_said() -> None:
    kit = toy_kit()
    rows = responses_of(trained(0), kit.images).tolist()
    found = check_responses(
        kit, OutputFormat("probabilities", kit.class_names), {i: [row] for i, row in enumerate(rows)}
    )[1]
    assert [f.fatal for f in found] == [False]
    assert "not tried" in found[0].text


def test_noise_is_seen_with_the_victims_errors_alone() -> None:
    """A small budget buys no clean image: the kit's own models are the measure."""
    kit = toy_kit()
    labels = torch.randint(0, 10, (len(kit.images),), generator=torch.Generator().manual_seed(3)).tolist()
    rows = responses_of(negative(), kit.images).argmax(1).tolist()
    form = OutputFormat("label", kit.class_names)
    noisy = {int(i): [labels[i]] for i in kit.natural}
    fair = {int(i): [rows[i]] for i in kit.natural}
    assert any(f.fatal for f in check_responses(kit, form, noisy)[1])
    assert not any(f.fatal for f in check_responses(kit, form, fair)[1])


def test_what_was_not_asked_stays_unknown() -> None:
    kit = toy_kit()
    probabilities, _ = check_responses(kit, OutputFormat("label", kit.class_names), {5: [1], 7: [2]})
    assert probabilities.isfinite().all(1).nonzero().flatten().tolist() == [5, 7]
