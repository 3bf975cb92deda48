"""The verdict as one self-contained page of HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.messages import printable
from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import corrected_for, few_siblings
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.churn_figures import churn_images_figure, evidence_figure
from uapfp_dist.verification.reports.methods_table import methods_tables
from uapfp_dist.verification.reports.verdict_figures import (
    errors_figure,
    perturbations_figure,
    rank_figure,
    scores_figure,
)
from uapfp_dist.verification.reports.verdict_text import details, findings, headline, queries

WHAT_CHURN_IS = (  # {siblings}: how few give the victim's label
    "What is compared. A sibling of the victim is a model that its owner trained in the same way, on the same "
    "images; only the random numbers of the training differ. This kit holds images at which {siblings} "
    "give the victim's label. Such a label comes from this one training run, not from the data or the task: to give it "
    "again and again is evidence of having learned from the victim."
)

OF_IMAGES = (
    "Images of most weight, with the labels of the victim, its siblings (in brackets how many) and the suspect. "
    "Orange: the suspect gives the victim's label"
)
OF_PLACES = (
    "Each mark is a model, each bar a mean; the dashed line is the suspect. It is accused only if nearly all models "
    "of every group that is not derived from the victim lie left of it"
)
OF_EVIDENCE = (
    "How the evidence adds up, image by image. Black: the suspect. A band holds nine of ten models of a kind, its "
    "line is their median"
)
OF_RANK = (
    "The exact sibling test: how much more the suspect agrees with the victim, and with each of its siblings, than "
    "models do that were not derived from them"
)
NO_CLAIM = "(beside the verdict, without a claim)"


def verdict_page(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """The page; it loads nothing."""
    names, v = ", ".join(printable(case.verdict.name) for case in cases), cases[0].verdict
    facts = {
        "Kit": kit.digest,
        "Tolerated rate of false accusation": f"{v.alpha:g} over {_suspects(cases)}",
        "Calibrated against": ", ".join(f"{n} {GROUPS.get(g, g)}" for g, n in v.calibration.items()),
    }
    if v.register:
        facts["Register of the kit"] = (
            f"{_looks(v.register.looks)}, up to this verdict. What is found of others later lowers no p-value here. "
            f"SHA-256 over the register before these results: {v.register.head}"
        )
    sections = [_section(kit, case) for case in cases]
    return html_report(f"Verification of {names}", facts, sections, headlines=[(headline(case), "") for case in cases])


def _suspects(cases: Sequence[JudgedSuspect]) -> str:
    """How many p-values are corrected together."""
    v = cases[0].verdict
    n_looks = len(cases) if v.register is None else v.register.looks
    if v.n_corrected is not None and v.n_corrected > n_looks:
        so_far = "judged here" if v.register is None else "tested so far"
        return f"the {v.n_corrected} suspects that this kit was enrolled for, {n_looks} {so_far}"
    return _looks(n_looks) if v.register else f"{n_looks} suspect{'s' if n_looks > 1 else ''}"


def _looks(n: int) -> str:
    return f"{n} suspect{'s' if n > 1 else ''} tested with this kit"


def _section(kit: Kit, case: JudgedSuspect) -> HtmlSection:
    v = case.verdict
    name = printable(v.name)
    how = ", ".join(f"{key} {value}" for key, value in case.begin.suspect.items() if value and key != "classes")
    n_failed = case.ledger.failures
    text = (
        f"Queried: {printable(how)}. {queries(case)}, {n_failed} request{'s' if n_failed != 1 else ''} failed. "
        f"SHA-256 of the transcript: {case.sha256}."
    )
    if case.stopped:
        return HtmlSection(f"{name}: not answered", text, remarks=findings(case), points=v.limits)
    if v.churn is not None:
        text = f"{WHAT_CHURN_IS.format(siblings=few_siblings(kit))}\n\n{text}"
    tables = dict(methods_tables(v))
    if v.power:
        power = pd.DataFrame([{"held-out stolen models": kind, **asdict(row)} for kind, row in v.power.items()])
        tables[f"Power of the kit with the images answered{corrected_for(v.n_corrected or 1)}"] = power
    return HtmlSection(
        f"{name}: {v.claim}",
        text,
        tables,
        _figures(kit, case),
        findings(case),
        details(kit, case),
        points=v.limits,
        verbatim=[name],
    )


def _figures(kit: Kit, case: JudgedSuspect) -> Mapping[str, Figure]:
    """Caption to figure."""
    v, name = case.verdict, printable(case.verdict.name)
    where = f"Where {name} falls among the kit's models, by {v.conformal_method}"
    moved = "Images without and with the perturbation, and how the response moved"
    errors = "Images of most weight in weighted_errors: the labels of the victim and of this suspect"
    found = {where: scores_figure(case), moved: perturbations_figure(kit, case), errors: errors_figure(kit, case)}
    if v.churn is not None:
        images = f"{OF_IMAGES}, as it does at {v.churn.agreed} of all {v.churn.of} such images it answered"
        places = f"{where}. {OF_PLACES}" if v.conformal is None else f"{where} {NO_CLAIM}"
        rank = OF_RANK if v.conformal is not None else f"{OF_RANK} {NO_CLAIM}"
        found = {
            rank: rank_figure(case),
            images: churn_images_figure(kit, case),
            places: found[where],
            OF_EVIDENCE: evidence_figure(kit, case),
            f"{moved} {NO_CLAIM}": found[moved],
            f"{errors} {NO_CLAIM}": found[errors],
        }
    return {caption: figure for caption, figure in found.items() if figure is not None}
