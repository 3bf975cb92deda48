"""Figures of a verdict."""

import numpy as np
import torch
from matplotlib.figure import Figure

from uapfp_dist.messages import printable
from uapfp_dist.reporting.figures.images import captioned_images, perturbed_images
from uapfp_dist.reporting.figures.marks import named_rows, reference_line, strip
from uapfp_dist.reporting.figures.style import COLOURS, MARKERS, PAGE, describe_axes, no_data, plain, subplots
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.reporting.number_format import number
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect, output_form
from uapfp_dist.verification.reports.group_words import ROLES, SCORE_WORDS
from uapfp_dist.verification.reports.methods_table import own_score

N_PICTURES = 6
"""Images shown with their perturbation."""


def rank_figure(case: JudgedSuspect) -> Figure | None:
    """The exact test: the statistic of the victim beside those of its siblings; None where it was not asked."""
    if (exact := case.verdict.exact) is None:
        return None
    victim, *siblings = exact.statistics
    figure, (axis,) = subplots(PAGE, 1.5)
    strip(axis, np.array(siblings), 0, "sibling_piracy")
    axis.plot([victim], [1], marker=MARKERS["victim"], color=COLOURS["victim"], ms=9, ls="none")
    axis.set_yticks([0, 1], [f"its {len(siblings)} siblings", "the victim"])
    axis.set_ylim(-0.6, 1.6)
    describe_axes(axis, "agreement beyond that of models not derived from it, in their standard deviations")
    return figure


def scores_figure(case: JudgedSuspect) -> Figure:
    """The suspect's score among those of the calibration models and of held-out stolen ones."""
    v = case.verdict
    own = own_score(v)
    groups = [group for group in ROLES if v.scores.get(group)]
    figure, (axis,) = subplots(PAGE, 1.1 + 0.5 * max(len(groups), 1))
    for y, group in enumerate(groups):
        strip(axis, v.scores[group], y, ROLES[group])
    if not groups:
        no_data(axis)
    if np.isfinite(own):
        reference_line(axis, own, f"{plain(printable(v.name))[:40]}: {number(own)}", vertical=True)
    named_rows(axis, [GROUPS[group] for group in groups])
    describe_axes(axis, SCORE_WORDS[v.conformal_method])
    return figure


def perturbations_figure(kit: Kit, case: JudgedSuspect) -> Figure | None:
    """Some images with their perturbation, those whose response moved the most; None where none was queried."""
    if not kit.views:
        return None
    views = kit.views[ResponseFormat.parse(case.verdict.format)]
    clean, perturbed = views[0].flatten(), views[1].flatten()
    responses = case.probabilities
    known = responses[clean].isfinite().all(1) & responses[perturbed].isfinite().all(1)
    clean, perturbed = clean[known], perturbed[known]
    if not len(clean):
        return None
    moved = (responses[perturbed] - responses[clean]).abs().sum(1)
    chosen: list[int] = []
    for i in moved.argsort(descending=True, stable=True).tolist():
        if clean[i] not in clean[chosen]:
            chosen.append(i)
        if len(chosen) == N_PICTURES:
            break
    before, after = kit.images[clean[chosen]] / 255, kit.images[perturbed[chosen]] / 255
    captions = [_caption(kit, case, responses[clean[i]], responses[perturbed[i]]) for i in chosen]
    # What was added to the first one; each view may have its own perturbation, and clipping takes its share.
    return perturbed_images((after - before)[0].numpy(), before.numpy(), after.numpy(), captions)


def errors_figure(kit: Kit, case: JudgedSuspect) -> Figure | None:
    """The victim's errors whose repetition weighs most; None where none was queried."""
    responses = case.probabilities[kit.natural]
    known = responses.isfinite().all(1).nonzero()[:, 0]
    if not len(known):
        return None
    chosen = known[kit.log_odds_agree[known].argsort(descending=True, stable=True)][:N_PICTURES]
    at = kit.natural[chosen]
    pairs = zip(kit.victim_labels[at].tolist(), responses[chosen].argmax(1).tolist(), strict=True)
    names = [name.replace(":", " ")[:11] for name in kit.class_names]
    captions = [f"victim {names[victim]}: suspect {names[suspect]}" for victim, suspect in pairs]
    return captioned_images((kit.images[at] / 255).numpy(), captions)


def _caption(kit: Kit, case: JudgedSuspect, before: torch.Tensor, after: torch.Tensor) -> str:
    """Labels, and confidences where it gave any."""
    words = [kit.class_names[int(p.argmax())][:10] for p in (before, after)]
    if output_form(kit, case.begin).format != LABEL:
        words = [f"{word} {float(p.max()):.2f}" for word, p in zip(words, (before, after), strict=True)]
    return f"{words[0]} to: {words[1]}"
