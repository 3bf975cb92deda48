"""The files of a report: figures, tables, JSON, and one page of HTML that holds it all."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.sections.answer import ANSWER
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.specs import Checkpoint

CAPTIONS = {
    "answer": "Test and calibration models of resample 0, by score: test models beyond the dashed line "
    "are accused; a bar is a mean",
    "churn_auc": "AUC of models stolen from the victim, by images sent",
    "churn_images": "Churn points, and the labels that models give them",
    "fig2a_projections": "Figure 2a: projections of UAPs on the victim's first principal directions",
    "fig2b_inconsist": "Figure 2b: Inconsist of every model",
    "fig8_left_modifications": "Figure 8 left: similarity after every modification",
    "utility_similarity": "Accuracy against similarity after every modification",
}
"""Captions of figures that share a section, or whose section has another title."""

QUESTIONS = {
    "claims": "Which of the paper's claims hold here?",
    "beside_paper": "How far are the numbers from the paper's?",
    "groups": "How far apart are the groups' scores?",
    "methods": "Which method tells stolen models apart best, at which cost?",
    "controls": "How often is each group accused, and by which test?",
    "churn": "Can the victim be told from its siblings?",
    "exact": "Which models are claimed by a test that assumes nothing of the suspect?",
    "ipguard": "On how many points does IPGuard rest, and which models match there?",
    "roc": "How many stolen models are caught at other rates of false accusation?",
    "table1_zoo": "Which models were trained, and how good are they?",
    "fig2_subspace": "Do stolen models share the victim's directions of UAPs?",
    "fig3_tsne": "Do fingerprints form groups?",
    "table2_similarity": "How similar are fingerprints, by architecture and optimizer?",
    "fig5_similarity_cdf": "How are similarities distributed?",
    "fig6_n_points": "How many points are enough?",
    "fig6_top_k": "How many confidences are enough?",
    "fig6_recovery": "How accurate must a stolen model be to be detected?",
    "recovery_methods": "Which methods detect stolen models that are less accurate than the finished ones?",
    "fig7_uap_vs_lap": "Does a universal perturbation do better than local ones?",
    "fig8_modifications": "Do stolen models stay similar when they are modified?",
    "fig8_adversarial": "Does adversarial training remove the fingerprint?",
    "removal": "What does removing the evidence cost, and who is accused after it?",
    "overlap": "Does sharing training images make independent models similar?",
    "views": "How many views are enough?",
    "loss": "Does the contrastive loss matter?",
    "view_algorithms": "Does it matter how views are chosen?",
    "paper_row": "What if the encoder learns from one architecture?",
    "uap": "What does the perturbation look like, and which models does it fool?",
}
"""Section to the question that it answers: the heading of its fold. Without one its title is the heading."""


def write_files(folder: Path, report: Report, sections: Sequence[ReportSection], data: ReportData) -> None:
    """Write report.json, report.html, summary.md, tables/*.csv and figures/*.png to `folder`."""
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    (folder / "report.json").write_text(json.dumps(to_json(report.body), indent=1))
    (folder / "summary.md").write_text(f"# {title(report.body)}\n\n{answer(report.body).markdown()}", encoding="utf-8")
    for name, table in tables(report, sections).items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    for section in sections:
        for name, figure in section.figures.items():
            figure.savefig(folder / "figures" / f"{name}.png")
    (folder / "report.html").write_text(page(report, sections, data), encoding="utf-8")


def tables(report: Report, sections: Sequence[ReportSection]) -> dict[str, pd.DataFrame]:
    """All tables by file name."""
    return {**report.tables, **{name: table for section in sections for name, table in section.tables.items()}}


def page(report: Report, sections: Sequence[ReportSection], data: ReportData) -> str:
    """The report as one self-contained page: the answer, one picture, one table, and the rest folded."""
    found = answer(report.body)
    parts = [_section(section, found.caption) for section in sections]
    lists = {name: report.tables[name] for name in ("verdicts", "zoo")}
    parts.append(
        HtmlSection(
            "Every verdict and every model",
            "Resample 0; EVAL accuracy.",
            lists,
            question="What is the verdict on each model?",
        )
    )
    parts.append(
        HtmlSection(
            "Configuration, versions, cost",
            facts=facts(report.body, data),
            question="What was run, where, at what cost?",
        )
    )
    return html_report(title(report.body), {}, parts, headlines=[(s.finding, s.numbers) for s in found.findings])


def title(report: EvaluationReport) -> str:
    """Of the page and of the summary."""
    return f"UAP fingerprinting on {report.data.name}, seed {report.seed}"


def _section(section: ReportSection, caption: str) -> HtmlSection:
    """Folded under what it answers; the answer's own is open and its table has this caption."""
    if section.name == ANSWER:
        return HtmlSection(section.title, section.text, {caption: section.tables[ANSWER]}, captioned(section))
    question = QUESTIONS.get(section.name, section.title)
    return HtmlSection(
        section.title, section.text, section.tables, captioned(section), section.remarks, question=question
    )


def captioned(section: ReportSection) -> dict[str, Figure]:
    """Its figures under a sentence each: the title, where there is only one without a caption of its own."""
    only = len(section.figures) == 1
    return {
        CAPTIONS.get(name, section.title) if only else CAPTIONS[name]: figure
        for name, figure in section.figures.items()
    }


def facts(report: EvaluationReport, data: ReportData) -> dict[str, str]:
    """What was run, where, at what cost."""
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in report.stage_seconds.items())
    queries = queries_to_victims(data)
    devices = sorted({card.device for card in data.cards.values()})
    hardware = ", ".join(f"{key} {value}" for key, value in data.settings.items() if key != "data_note")
    hardware += f"; models made on {', '.join(devices)}"
    return {
        "Setting": data.setting,
        "Data": f"{report.data.name} {report.data_note}".strip(),
        "Models": ", ".join(f"{n} {what}" for what, n in vars(report.models).items()) if report.models else "",
        "Wall time": f"{stages} (stages overlap)" if stages else "",
        "Queries": f"{report.queries_per_suspect:,} images sent to each suspect; "
        f"{queries:,} to victims by all extractions together",
        "Hardware and versions": hardware,
        "Configuration": json.dumps(wire_form(data.plan.config)),
        "Evaluation": report.evaluation,
    }


def queries_to_victims(data: ReportData) -> int:
    """Images sent to victims by all extractions of judged models.

    An extraction that was stopped at several recovery rates sent them once: its last stop counts.
    """
    most: dict[str, int] = {}
    for member in data.plan.judged:
        if card := data.cards.get(member.spec.id):
            origin = member.spec.origin
            extraction = origin.trajectory.id if isinstance(origin, Checkpoint) else member.spec.id
            most[extraction] = max(most.get(extraction, 0), card.queries)
    return sum(most.values())
