"""The files of a report: figures, tables, JSON, and one page of HTML that holds it all."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.evaluation.judging import CHOSEN, group_name
from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.summary import summary
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.hashing import wire_form

CAPTIONS = {
    "churn_auc": "AUC of models stolen from the victim, by images sent",
    "churn_images": "Churn points, and what models say to them",
    "fig2a_projections": "Figure 2a: projections of UAPs on the victim's first principal directions",
    "fig2b_inconsist": "Figure 2b: Inconsist of every model",
    "fig8_left_modifications": "Figure 8 left: similarity after every modification",
    "utility_similarity": "Accuracy against similarity after every modification",
}
"""Of figures that share a section."""


def write_files(folder: Path, report: Report, sections: Sequence[ReportSection], data: ReportData) -> None:
    """Write report.json, report.html, summary.txt, tables/*.csv and figures/*.png to `folder`."""
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    (folder / "report.json").write_text(json.dumps(to_json(report.body), indent=1))
    (folder / "summary.txt").write_text(summary(report.body) + "\n")
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
    """The report as one self-contained page."""
    parts = [HtmlSection(s.title, s.text, s.tables, captioned(s), s.remarks) for s in sections]
    lists = {name: report.tables[name] for name in ("verdicts", "zoo")}
    parts.append(HtmlSection("Every verdict and every model", "Resample 0; EVAL accuracy.", lists, {}, ()))
    title = f"UAP fingerprinting on {data.plan.data.name}, seed {data.plan.seed}"
    return html_report(title, facts(report.body, data), parts, headlines=headlines(report.body))


def captioned(section: ReportSection) -> dict[str, Figure]:
    """Its figures under a sentence each: the title, where there is only one."""
    only = len(section.figures) == 1
    return {section.title if only else CAPTIONS[name]: figure for name, figure in section.figures.items()}


def headlines(report: EvaluationReport) -> list[str]:
    """What a reader must know before anything else."""
    areas = ", ".join(
        f"{_in_words(group)} {v:.2f}" for group, v in report.auc["uap"][CHOSEN].items() if not math.isnan(v)
    )
    lines = [f"AUC of UAP fingerprints over {report.n_resamples} resamples, piracy against: {areas}."]
    accusation, power = report.false_accusation, report.power.conformal
    if math.isnan(power):
        lines.append("Too few calibration models to decide anything at this alpha.")
    else:
        falsely = ", ".join(f"{_in_words(group)} {v:.2f}" for group, v in accusation.conformal.items())
        lines.append(f"At alpha {accusation.alpha:g}: {power:.2f} of piracy caught; falsely accused: {falsely}.")
    return lines + [remark[0].upper() + remark[1:] + "." for remark in report.remarks]


def _in_words(group: str) -> str:
    return group_name(group).replace("_", " ")


def facts(report: EvaluationReport, data: ReportData) -> dict[str, str]:
    """What was run, where, at what cost."""
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in report.stage_seconds.items())
    queries = sum(card.queries for card in data.cards.values())
    devices = sorted({card.device for card in data.cards.values()})
    hardware = ", ".join(f"{key} {value}" for key, value in data.settings.items() if key != "data_note")
    hardware += f"; models made on {', '.join(devices)}"
    return {
        "Summary": summary(report),
        "Setting": data.setting,
        "Data": f"{report.data.name} {report.data_note}".strip(),
        "Models": ", ".join(f"{n} {what}" for what, n in vars(report.models).items()) if report.models else "",
        "Wall time": f"{stages} (stages overlap)" if stages else "",
        "Queries": f"{report.queries_per_suspect:,} images sent to each suspect; "
        f"{queries:,} to victims by those who extract, all together",
        "Hardware and versions": hardware,
        "Configuration": json.dumps(wire_form(data.plan.config)),
        "Evaluation": report.evaluation,
    }
