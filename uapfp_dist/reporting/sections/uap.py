"""The UAP itself, with how often it fools models of each role."""

import math

import pandas as pd

from uapfp_dist.execution.probe_artifacts import read_probe
from uapfp_dist.fingerprints.blocks import CLEAN, PAPER
from uapfp_dist.fingerprints.querying import query_images
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.section_schema import FoolingRate, SectionNumbers, rows_of
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.auc import FEWEST_VICTIMS
from uapfp_dist.tasks.members import STOLEN_FROM_OTHERS

SHOWN_IMAGES = 6


def uap(data: ReportData) -> ReportSection:
    """v and the first points, with the victim's labels before and after."""
    matrix, probe = data.matrix, data.probe
    index, queried = matrix.views[0, :SHOWN_IMAGES], matrix.gather[PAPER][0, :SHOWN_IMAGES]
    before = matrix.responses[0].blocks[CLEAN][index].argmax(1).tolist()
    after = matrix.responses[0].blocks[PAPER][queried].argmax(1).tolist()
    captions = [f"x + v: {a} to {b}" if a != b else f"x + v: stays {a}" for a, b in zip(before, after, strict=True)]
    moved = query_images(probe, PAPER)[queried].numpy()
    v = probe.blocks[PAPER].perturbations[0].numpy()
    found, rates = data.report.uap, fooling(data)
    return ReportSection(
        "uap",
        "The universal perturbation",
        f"xi {found.xi:.2f} (l2 in pixels of [0, 1]; an image's mean norm is {found.mean_image_norm:.2f}): fools "
        f"{found.fooling_rate:.2f} of held-out images, {found.fooling_rate_clipped:.2f} after clipping"
        f"{_elsewhere(data)}. The paper: more than .80. The table: share of the test views' points at which a model's "
        "label for x + v, as it is sent, differs from that for x; means over models. Independent models are fooled, "
        "too: lineage is in which label a point moves to.",
        {"fooling": rates},
        {"uap": figures.perturbed_images(v, probe.points[index].numpy(), moved, captions)},
        SectionNumbers(fooling=dict(zip(rates["role"], rows_of(FoolingRate, rates.drop(columns="role")), strict=True))),
    )


def _elsewhere(data: ReportData) -> str:
    """The fooling rate on images that xi was not chosen on, where it was measured: the difference is the bias."""
    for spec in data.plan.references:
        rate = read_probe(data.store.get(*spec.artifact)).summary.fooling_on_eval
        if rate is not None:
            return f"; on EVAL, on which xi was not chosen, {rate:.2f}"
    return "; xi was chosen on those images"


def fooling(data: ReportData) -> pd.DataFrame:
    """How often the paper's UAP moves the label of a model of each role (protocol 2.5)."""
    matrix = data.matrix
    queried = matrix.query_index(PAPER).unique()
    points = data.probe.blocks[PAPER].point[queried]
    rates = (matrix.labels(PAPER)[:, queried] != matrix.labels(CLEAN)[:, points]).double().mean(1)
    members = matrix.members
    bases = [m.stolen_from if m.role in STOLEN_FROM_OTHERS else m.spec.root.id for m in members]
    table = pd.DataFrame({"role": [m.role for m in members], "base": bases, "fooling_rate": rates.numpy()})
    found = over_models(table, ["role"], ["fooling_rate"], ["fooling_rate"], shares=["fooling_rate"])
    victims = found["role"].map(table.groupby("role")["base"].nunique())
    few = found["role"].isin(STOLEN_FROM_OTHERS) & (victims < FEWEST_VICTIMS)
    found.loc[few, ["fooling_rate_low", "fooling_rate_high"]] = math.nan
    return found
