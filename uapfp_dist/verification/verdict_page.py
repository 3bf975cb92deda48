"""The verdict for people: a short text, a page with pictures, and JSON with a schema."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uapfp_dist.errors import UserError, printable
from uapfp_dist.reporting.html import HtmlSection, html_report
from uapfp_dist.reporting.number_format import number
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verdict_figures import GROUP_WORDS, errors_shown, moved, placed
from uapfp_dist.verification.verdict_schema import SCHEMA, SCHEMA_VERSION


def verdict_json(kit: Kit, cases: Sequence[JudgedSuspect]) -> dict[str, Any]:
    """What verdict.json holds; SCHEMA describes it. Nothing in it depends on when or where it was made."""
    return {"schema": SCHEMA_VERSION, "kit": kit.digest, "suspects": [case.to_json() for case in cases]}


def verdict_text(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """A few lines per suspect."""
    return "\n\n".join("\n".join(_lines(case)) for case in cases) + f"\n\nkit {kit.digest}"


def write_verdict(out: Path, kit: Kit, cases: Sequence[JudgedSuspect]) -> None:
    """Lay verdict.json, its schema, verdict.txt and verdict.html into `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out: expected a folder that can be written at {out} ({error.strerror})") from error
    for name, text in {
        "verdict.json": json.dumps(verdict_json(kit, cases), indent=1, allow_nan=False) + "\n",
        "verdict.schema.json": json.dumps(SCHEMA, indent=1) + "\n",
        "verdict.txt": verdict_text(kit, cases) + "\n",
        "verdict.html": page(kit, cases),
    }.items():
        temporary = out / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / name)


def page(kit: Kit, cases: Sequence[JudgedSuspect]) -> str:
    """One self-contained page of HTML."""
    told = ", ".join(f"{printable(case.verdict.name)}: {case.verdict.claim}" for case in cases)
    v = cases[0].verdict
    facts = {
        "Verdict": "\n\n".join("\n".join(_lines(case)) for case in cases),
        "Kit": kit.digest,
        "Tolerated rate of false accusation": f"{v.alpha:g} over {len(cases)} suspect{'s' if len(cases) > 1 else ''}",
        "Calibrated against": ", ".join(f"{n} {GROUP_WORDS.get(g, g)}" for g, n in v.calibration.items()),
    }
    sections = [_section(kit, case) for case in cases]
    return html_report(f"Verification: {told}", facts, sections, headlines=[_headline(case) for case in cases])


def _headline(case: JudgedSuspect) -> str:
    v = case.verdict
    together = "" if v.p_adjusted == v.p_value else f" (p {number(v.p_adjusted)} among all suspects)"
    return f"{printable(v.name)}: {v.claim}. p {number(v.p_value)}{together} by {v.decided_by}, alpha {v.alpha:g}."


def _findings(case: JudgedSuspect) -> list[str]:
    """They quote a suspect."""
    return [printable(finding) for finding in case.verdict.findings]


def _lines(case: JudgedSuspect) -> list[str]:
    v = case.verdict
    remarks = [f"  ! {finding}" for finding in _findings(case)]
    if case.stopped:
        return [_headline(case), f"  queries           {_asked(case)}", *remarks]
    power = v.power.get("all")
    similarity = f"{number(v.similarity)} +- {number(v.similarity_std)}"
    rows = [
        _headline(case),
        f"  uap               p {number(v.p_value_uap)}, similarity {similarity}",
        f"  weighted_errors   p {number(v.p_value_weighted_errors)}, log odds {number(v.weighted_errors)}",
        f"  paper's t-test    p {number(v.p_value_t_test)} (printed, not used)",
        f"  queries           {_asked(case)}; format {v.format}",
        f"  agreement         {number(v.agreement_clean)} on clean images",
    ]
    if power:
        rows.append(
            f"  power of the kit  {power['caught']} of {power['of']} held-out stolen models caught with these images"
        )
    rows.append(f"  {v.decided_by} decides    {printable(v.decided_because)}")
    if v.not_calibrated_against:
        rows.append(f"  not calibrated against {', '.join(v.not_calibrated_against)}")
    return rows + remarks


def _asked(case: JudgedSuspect) -> str:
    if case.stopped:
        return f"{case.ledger.queries} images sent, {len(case.ledger.answers)} answered and kept, none judged"
    return f"{case.ledger.queries} images sent, {case.verdict.queries} answered"


def _section(kit: Kit, case: JudgedSuspect) -> HtmlSection:
    v = case.verdict
    name = printable(v.name)
    asked = ", ".join(f"{key} {value}" for key, value in case.begin["suspect"].items() if value and key != "classes")
    text = (
        f"{_headline(case)}\n\nAsked: {printable(asked)}. {_asked(case)}, {case.ledger.failures} requests failed. "
        f"SHA-256 of the transcript: {case.sha256}.\n\n{' '.join(v.limits)}"
    )
    if case.stopped:
        return HtmlSection(f"{name}: not answered", text, remarks=_findings(case))
    figures = {f"Where {name} falls among the kit's models, by {v.decided_by}": placed(case)}
    if (pictures := moved(kit, case)) is not None:
        figures["Images without and with the perturbation, and how its answer moved"] = pictures
    if (pictures := errors_shown(kit, case)) is not None:
        figures[
            "Images that tell most, by weighted_errors: what the victim says of them, and what this suspect says"
        ] = pictures
    both = pd.DataFrame(
        {
            "method": ["uap (the paper's)", "weighted_errors"],
            "decides": [v.decided_by == "uap", v.decided_by == "weighted_errors"],
            "score": [v.similarity, v.weighted_errors],
            "conformal p": [v.p_value_uap, v.p_value_weighted_errors],
        }
    )
    power = pd.DataFrame([{"held-out stolen models": kind, **row} for kind, row in v.power.items()])
    tables = {"Both methods; which one decides was fixed at enrolment": both}
    if len(power):
        tables["Power of the kit with the images answered"] = power
    return HtmlSection(f"{name}: {v.claim}", text, tables, figures, _findings(case))


def verdict_fields(case: JudgedSuspect) -> tuple[dict[str, str], dict[str, float]]:
    """(tags, metrics) of a suspect for a tracker; what is no number is left out."""
    v = case.verdict
    tags = {"claim": v.claim, "decided_by": v.decided_by, "format": v.format, "findings": "; ".join(v.findings)[:4000]}
    values: Mapping[str, float] = {
        "p_value": v.p_value,
        "p_adjusted": v.p_adjusted,
        "p_value_uap": v.p_value_uap,
        "p_value_weighted_errors": v.p_value_weighted_errors,
        "similarity": v.similarity,
        "weighted_errors": v.weighted_errors,
        "agreement_clean": v.agreement_clean,
        "queries_sent": float(case.ledger.queries),
    }
    return tags, {key: float(value) for key, value in values.items() if np.isfinite(value)}
