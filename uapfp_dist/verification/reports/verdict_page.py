"""The verdict as one self-contained page of HTML."""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from uapfp_dist.messages import printable
from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_figures import (
    GROUP_WORDS,
    errors_figure,
    perturbations_figure,
    scores_figure,
)
from uapfp_dist.verification.reports.verdict_text import findings, headline, queries, suspects_text


def verdict_page(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """The page; it loads nothing."""
    claims = ", ".join(f"{printable(case.verdict.name)}: {case.verdict.claim}" for case in cases)
    v = cases[0].verdict
    facts = {
        "Verdict": suspects_text(cases),
        "Kit": kit.digest,
        "Tolerated rate of false accusation": f"{v.alpha:g} over {len(cases)} suspect{'s' if len(cases) > 1 else ''}",
        "Calibrated against": ", ".join(f"{n} {GROUP_WORDS.get(g, g)}" for g, n in v.calibration.items()),
    }
    sections = [_section(kit, case) for case in cases]
    return html_report(f"Verification: {claims}", facts, sections, headlines=[headline(case) for case in cases])


def _section(kit: Kit, case: JudgedSuspect) -> HtmlSection:
    v = case.verdict
    name = printable(v.name)
    how = ", ".join(f"{key} {value}" for key, value in case.begin.suspect.items() if value and key != "classes")
    text = (
        f"{headline(case)}\n\nQueried: {printable(how)}. {queries(case)}, {case.ledger.failures} requests failed. "
        f"SHA-256 of the transcript: {case.sha256}.\n\n{' '.join(v.limits)}"
    )
    if case.stopped:
        return HtmlSection(f"{name}: not answered", text, remarks=findings(case))
    figures = {f"Where {name} falls among the kit's models, by {v.decided_by}": scores_figure(case)}
    if (pictures := perturbations_figure(kit, case)) is not None:
        figures["Images without and with the perturbation, and how the response moved"] = pictures
    if (pictures := errors_figure(kit, case)) is not None:
        figures["Images that tell most, by weighted_errors: the labels of the victim and of this suspect"] = pictures
    methods = pd.DataFrame(
        {
            "method": ["uap (the paper's)", "weighted_errors"],
            "decides": [v.decided_by == "uap", v.decided_by == "weighted_errors"],
            "score": [v.similarity, v.weighted_errors],
            "conformal p": [v.p_value_uap, v.p_value_weighted_errors],
        }
    )
    tables = {"Both methods; which one decides was fixed at enrolment": methods}
    if v.power:
        power = pd.DataFrame([{"held-out stolen models": kind, **asdict(row)} for kind, row in v.power.items()])
        tables["Power of the kit with the images answered"] = power
    return HtmlSection(f"{name}: {v.claim}", text, tables, figures, findings(case))
