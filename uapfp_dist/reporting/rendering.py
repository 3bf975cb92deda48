"""The files of a report: figures, tables, JSON, and one page of HTML that holds it all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.sections import ReportData, ReportSection
from uapfp_dist.reporting.summary import summary
from uapfp_dist.tasks.hashing import wire_form

CAPTIONS = {
    "fig2a_projections": "Figure 2a: projections of UAPs on the victim's first principal directions",
    "fig2b_inconsist": "Figure 2b: Inconsist of every model",
    "fig8_left_modifications": "Figure 8 left: similarity after every modification",
    "utility_similarity": "Accuracy against similarity after every modification",
}
"""Of figures that share an exhibit."""


def write_files(folder: Path, report: Report, exhibits: Sequence[ReportSection], evidence: ReportData) -> None:
    """Lay report.json, report.html, summary.txt, tables/*.csv and figures/*.png under `folder`."""
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    (folder / "report.json").write_text(json.dumps(report.body, indent=1))
    (folder / "summary.txt").write_text(summary(report.body) + "\n")
    for name, table in tables(report, exhibits).items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    for exhibit in exhibits:
        for name, figure in exhibit.figures.items():
            figure.savefig(folder / "figures" / f"{name}.png")
    (folder / "report.html").write_text(page(report, exhibits, evidence), encoding="utf-8")


def tables(report: Report, exhibits: Sequence[ReportSection]) -> dict[str, Any]:
    """All tables by file name."""
    return {**report.tables, **{name: table for e in exhibits for name, table in e.tables.items()}}


def page(report: Report, exhibits: Sequence[ReportSection], evidence: ReportData) -> str:
    """The report as one self-contained page."""
    sections = [HtmlSection(e.title, e.text, e.tables, captioned(e), e.remarks) for e in exhibits]
    lists = {name: report.tables[name] for name in ("verdicts", "zoo")}
    sections.append(HtmlSection("Every verdict and every model", "Draw 0; EVAL accuracy.", lists, {}, ()))
    title = f"UAP fingerprinting on {evidence.plan.data.name}, seed {evidence.plan.seed}"
    return html_report(title, facts(report, evidence), sections, headlines=headlines(report.body))


def captioned(exhibit: ReportSection) -> dict[str, Figure]:
    """Its figures under a sentence each: the title, where there is only one."""
    only = len(exhibit.figures) == 1
    return {exhibit.title if only else CAPTIONS[name]: figure for name, figure in exhibit.figures.items()}


def headlines(body: Mapping[str, Any]) -> list[str]:
    """What a reader must know before anything else."""
    table, accusation, power = body["auc"]["uap"]["chosen"], body["false_accusation"], body["power"]["conformal"]
    areas = ", ".join(f"{group.replace('_', ' ')} {v:.2f}" for group, v in table.items() if v is not None)
    lines = [f"AUC of UAP fingerprints over {body['draws']} draws, piracy against: {areas}."]
    if power is None:
        lines.append("Too few calibration models to decide anything at this alpha.")
    else:
        rates = accusation["conformal"].items()
        falsely = ", ".join(f"{group.replace('_', ' ')} {v:.2f}" for group, v in rates if v is not None)
        lines.append(f"At alpha {accusation['alpha']:g}: {power:.2f} of piracy caught; falsely accused: {falsely}.")
    return lines + [remark[0].upper() + remark[1:] + "." for remark in body["remarks"]]


def facts(report: Report, evidence: ReportData) -> dict[str, str]:
    """What was run, where, at what cost."""
    body = report.body
    models = body.get("models", {})
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in body.get("stage_seconds", {}).items())
    stolen = sum(card["queries"] for card in evidence.cards.values())
    devices = sorted({str(card["device"]) for card in evidence.cards.values()})
    hardware = ", ".join(f"{key} {value}" for key, value in evidence.settings.items() if key != "data_note")
    hardware += f"; models made on {', '.join(devices)}"
    return {
        "Summary": summary(body),
        "Setting": evidence.setting,
        "Data": " ".join((body["data"]["name"], body["data_note"])).strip(),
        "Models": ", ".join(f"{n} {what}" for what, n in models.items()),
        "Wall time": f"{stages} (stages overlap)" if stages else "",
        "Queries": f"{body['unique_queries_per_suspect']:,} images sent to each suspect; "
        f"{stolen:,} to victims by those who steal, all together",
        "Hardware and versions": hardware,
        "Configuration": json.dumps(wire_form(evidence.plan.config)),
        "Evaluation": body["evaluation"],
    }
