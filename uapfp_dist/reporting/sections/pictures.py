"""What is sent, and where every model falls: the UAP itself, and the scores of draw 0 by group."""

from collections.abc import Mapping, Sequence

import pandas as pd

from uapfp_dist.fingerprints.blocks import CLEAN, PAPER
from uapfp_dist.fingerprints.querying import perturbed_images
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.report_tables import group_scores
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.conformal import needed_for

SHOWN_IMAGES = 6


def uap(evidence: ReportData) -> ReportSection:
    """v and the first points, with the victim's labels before and after."""
    panel, probe = evidence.panel, evidence.probe
    index, sent = panel.views[0, :SHOWN_IMAGES], panel.gather[PAPER][0, :SHOWN_IMAGES]
    before = panel.answers[0].blocks[CLEAN][index].argmax(1).tolist()
    after = panel.answers[0].blocks[PAPER][sent].argmax(1).tolist()
    captions = [f"x + v: {a} to {b}" if a != b else f"x + v: stays {a}" for a, b in zip(before, after, strict=True)]
    moved = perturbed_images(probe, PAPER)[sent].numpy()
    v = probe.blocks[PAPER].perturbations[0].numpy()
    found, rates = evidence.report["uap"], fooling(evidence)
    return ReportSection(
        "uap",
        "The universal perturbation",
        f"xi {found['xi']:.2f} (l2 in pixels of [0, 1]; an image's mean norm is {found['mean_image_norm']:.2f}): fools "
        f"{found['fooling_rate']:.2f} of held-out images, {found['fooling_rate_clipped']:.2f} after clipping. The "
        "paper: more than .80. The table: share of the test views' points at which a model says something else of "
        "x + v, as it is sent, than of x; means over models. Homologous models are fooled, too: lineage is in which "
        "label a point moves to.",
        {"fooling": rates},
        {"uap": figures.perturbed_images(v, probe.points[index].numpy(), moved, captions)},
        {"fooling": rates.set_index("role").to_dict("index")},
    )


def fooling(evidence: ReportData) -> pd.DataFrame:
    """How often the paper's UAP moves the label of a model of each role (protocol 2.5)."""
    panel = evidence.panel
    sent = panel.query_index(PAPER).unique()
    points = evidence.probe.blocks[PAPER].point[sent]
    rates = (panel.labels(PAPER)[:, sent] != panel.labels(CLEAN)[:, points]).double().mean(1)
    table = pd.DataFrame({"role": [m.role for m in panel.members], "fooling_rate": rates.numpy()})
    return over_models(table, ["role"], ["fooling_rate"], ["fooling_rate"])


def groups(evidence: ReportData) -> ReportSection:
    """The score of every test and calibration model of draw 0, with the score above which a claim is made."""
    methods = tuple(dict.fromkeys((evidence.plan.config.verdict.decided_by, "weighted_errors")))
    scores = {m: group_scores(evidence.draws[0], evidence.panelists, m) for m in methods}
    thresholds = {m: claim_threshold(found, evidence.alpha) for m, found in scores.items()}
    shown = {m: {role: v for role, v in found.items() if role in figures.LABELS} for m, found in scores.items()}
    return ReportSection(
        "groups",
        "Every model's score, by group",
        f"Draw 0, the verdict's: `{methods[0]}`, which decides"
        + (", and `weighted_errors`, the second verdict" if len(methods) > 1 else "")
        + f". Above the line: a claim at alpha {evidence.alpha:g}. {evidence.setting}.",
        {},
        {"groups": figures.group_strips(shown, thresholds)},
    )


def claim_threshold(groups: Mapping[str, Sequence[float]], alpha: float) -> float | None:
    """The score a suspect must exceed for a claim, whichever group asks for most; None if no score would do.

    As in `judging.decision`, nothing is claimed without enough homologous models.
    """
    if len(groups["calibration"]) < needed_for(alpha):
        return None
    calibrating = [groups[name] for name in ("calibration", "calibration_piracy") if name in groups]
    highest = []
    for scores in calibrating:
        if len(scores) >= needed_for(alpha):
            may_exceed = int(alpha * (len(scores) + 1) + 1e-9) - 1
            highest.append(sorted(scores, reverse=True)[may_exceed])
    return max(highest, default=None)
