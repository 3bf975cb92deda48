"""Whether a suspect responds as a classifier of these images does; if not it is said how, and it is not accused.

The score of a response that no trained model would give means nothing: constants, noise and one-hot "probabilities" are
outside what the kit was calibrated on, and may come out as similar to the victim as a stolen model (protocol 3.2).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from uapfp_dist.response_format import LABEL
from uapfp_dist.suspects.output_format import OutputFormat, ParsedResponses
from uapfp_dist.verification.kit.kit import Kit

SUM_TOLERANCE = 0.01
"""By which probabilities may miss 1 (or their rounding, if that is coarser)."""
COARSE = 1
"""Decimals up to which rounded confidences are not confidences any more but labels."""
JITTER = 1e-3
"""By which a confidence may differ between two responses to the same image: float16, other batch sizes."""
MAX_FLIPS = 1
"""Of images sent twice, those whose label may change (one may lie on the boundary)."""
ABOVE_CHANCE = 0.2
"""Of the way from chance to full agreement: below it a response has hardly to do with the image."""
FEW = 10
"""Images below which a rate says nothing."""


@dataclass(frozen=True)
class Finding:
    """Something about the responses that a reader must know."""

    text: str
    fatal: bool
    """It forbids an accusation."""


def check_responses(
    kit: Kit, form: OutputFormat, responses: Mapping[int, Sequence[object]]
) -> tuple[Tensor, list[Finding]]:
    """Read the responses and look for what no trained classifier would say.

    Args:
        kit: what was queried.
        form: how responses are to be read.
        responses: image to its responses as they came, the first one first.

    Returns:
        (Q, C) float32 probabilities in the kit's order, NaN where nothing was queried or nothing could be read, and
        what was found.
    """
    queried = sorted(responses)
    read = form.parse([responses[i][0] for i in queried])
    probabilities = torch.full((len(kit.images), kit.n_classes), torch.nan)
    probabilities[queried] = read.probabilities
    findings = [*_unreadable(read), *_changes(form, responses)]
    if not read.problems:
        findings += [*_confidences(form, read), *_agreement(kit, probabilities, torch.tensor(queried))]
    return probabilities, findings


def wrong_output(form: OutputFormat, responses: Sequence[object]) -> str:
    """Why a few responses are not what the output says, and which to try; empty where they are, or cannot be read.

    All responses together would be refused for it. That some are rounded is none: sure answers may all be round.
    Bare labels and top<k> are left to `check_responses`.
    """
    if form.format.k is not None:
        return ""
    values = form.parse(responses).raw
    values = values[values.isfinite().all(1)]
    if not len(values):
        return ""
    if (other := _other_output(form, values)) or form.output == "logits":
        return other
    sums = _wrong_sums(form, values, _decimals(values))
    return sums and f"{sums}; ask it with output logits if they are logits, else for labels with output label"


def _unreadable(read: ParsedResponses) -> list[Finding]:
    """Wrong class counts, unknown classes, NaN: one kind per line, the most frequent first."""
    kinds = Counter(read.problems.values()).most_common()
    lines = [Finding(f"{n} of {len(read.raw)} answers cannot be used: {why}", True) for why, n in kinds[:3]]
    return lines + ([Finding(f"and {len(kinds) - 3} other kinds of unusable answers", True)] if len(kinds) > 3 else [])


def _changes(form: OutputFormat, responses: Mapping[int, Sequence[object]]) -> list[Finding]:
    """Between the two responses to an image that was sent twice."""
    twice = [given for given in responses.values() if len(given) > 1]
    if not twice:
        return [Finding("whether answers change from call to call was not tried: no queries were left for it", False)]
    first, second = (form.parse([given[i] for given in twice]).probabilities for i in (0, 1))
    readable = first.isfinite().all(1), second.isfinite().all(1)
    once, both = torch.logical_xor(*readable), torch.logical_and(*readable)
    first, second = first[both], second[both]
    flips, lost = int((first.argmax(1) != second.argmax(1)).sum()), int(once.sum())
    largest = max((first - second).abs().flatten().tolist(), default=0.0)
    if (n := flips + lost) > MAX_FLIPS:
        return [Finding(f"answers change from call to call: {n} of {len(twice)} images got another label", True)]
    found = []
    if lost:
        found.append(f"of {lost} of {len(twice)} images sent twice only one of the two answers can be read")
    if flips or largest > JITTER:
        found.append(
            f"answers change a little from call to call: by up to {largest:.2g}, {flips} of {len(twice)} labels"
        )
    return [Finding(text, False) for text in found]


def _confidences(form: OutputFormat, read: ParsedResponses) -> list[Finding]:
    """Negative, unnormalised or rounded; logits for probabilities and the other way round."""
    if form.format == LABEL:
        return []
    if other := _other_output(form, read.raw):
        return [Finding(other, True)]
    if form.output == "logits":
        return []
    decimals = _decimals(read.raw)
    found = []
    if decimals is not None:
        fatal = decimals <= COARSE
        advice = "; these are labels rather than confidences: ask it with output label" if fatal else ""
        found.append(Finding(f"confidences are rounded to {decimals} decimals{advice}", fatal))
    if sums := _wrong_sums(form, read.raw, decimals):
        found.append(Finding(sums, True))
    return found


def _other_output(form: OutputFormat, values: Tensor) -> str:
    """Logits for probabilities or the other way round, in words; else empty."""
    if form.output == "logits":
        normalised = bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < SUM_TOLERANCE).all())
        return "its logits are probabilities: ask it with output probabilities" if normalised else ""
    return "negative confidences: perhaps logits, ask it with output logits" if bool((values < 0).any()) else ""


def _wrong_sums(form: OutputFormat, values: Tensor, decimals: int | None) -> str:
    """Confidences that do not sum to what probabilities do, in words; else empty."""
    n_classes, sums = values.shape[1], values.sum(1)
    tolerance = _tolerance(n_classes, decimals)
    wrong = (sums - 1).abs() > tolerance
    if form.format.k:
        # The k largest of C that sum to 1 have at least k / C.
        k = min(form.format.k, n_classes)
        wrong = (sums > 1 + tolerance) | (sums < k / n_classes - _tolerance(k, decimals))
    if not bool(wrong.any()):
        return ""
    return f"confidences are not normalised: sums from {float(sums.min()):.3g} to {float(sums.max()):.3g}"


def _tolerance(n: int, decimals: int | None) -> float:
    """By which the sum of n confidences may be off."""
    return SUM_TOLERANCE if decimals is None else max(SUM_TOLERANCE, n * 0.5 * 10.0**-decimals)


def _decimals(values: Tensor) -> int | None:
    """The fewest decimals, up to 4, that all values are rounded to; None if there are more."""
    for decimals in range(5):
        scaled = values * 10.0**decimals
        if bool(((scaled - scaled.round()).abs() < 1e-6 * 10.0**decimals).all()):
            return decimals
    return None


def _agreement(kit: Kit, probabilities: Tensor, queried: Tensor) -> list[Finding]:
    """Constants, labels that have nothing to do with the images, classes in another order."""
    rows = probabilities[queried]
    if len(queried) > 1 and bool((rows == rows[0]).all()):
        return [Finding("the same answer to every image", True)]
    labels = probabilities.argmax(1)
    clean = kit.clean[torch.isin(kit.clean, queried)].unique()
    if len(clean) >= FEW:
        return _agreement_on_clean(kit, labels[clean], kit.victim_labels[clean])
    return _agreement_on_errors(kit, labels, queried)


def _agreement_on_clean(kit: Kit, labels: Tensor, victim: Tensor) -> list[Finding]:
    """On images that every trained model knows."""
    share = float((labels == victim).double().mean())
    counts = torch.zeros(kit.n_classes, kit.n_classes).index_put(
        (labels, victim), torch.ones(len(labels)), accumulate=True
    )
    mine, theirs = linear_sum_assignment(counts.numpy(), maximize=True)
    best = float(counts[mine, theirs].sum()) / len(labels)
    chance = float(victim.bincount(minlength=kit.n_classes).max()) / len(victim)
    floor = chance + ABOVE_CHANCE * (1 - chance)
    # Half of what it misses is explained by names alone; noise gains little from being renamed.
    if best > floor and best - share > 0.5 * (1 - share) and best - share > ABOVE_CHANCE:
        example = next((int(a), int(b)) for a, b in zip(mine, theirs, strict=True) if a != b and counts[a, b] > 0)
        names = [kit.class_names[i] for i in example]
        return [
            Finding(
                f"its classes seem to be in another order (its {names[0]} is the kit's {names[1]}; agreement "
                f"{share:.2f}, {best:.2f} with its classes renamed): give their order in classes",
                True,
            )
        ]
    if share < floor:
        return [
            Finding(
                f"agrees with the victim on {share:.2f} of {len(labels)} clean images, fewer than any trained model "
                f"would (chance {chance:.2f})",
                True,
            )
        ]
    return []


def _agreement_on_errors(kit: Kit, labels: Tensor, queried: Tensor) -> list[Finding]:
    """On the victim's own errors negatives disagree too: what counts is the least of the kit's models."""
    used = torch.isin(kit.natural, queried)
    if int(used.sum()) < FEW:
        return []
    at = kit.natural[used]
    share = float((labels[at] == kit.victim_labels[at]).double().mean())
    least = float(kit.agrees[:, used].double().mean(1).min())
    if share < 0.5 * least:
        text = (
            f"agrees with the victim on {share:.2f} of {len(at)} of its errors, every model of the kit on {least:.2f}"
        )
        return [Finding(text, True)]
    return []
