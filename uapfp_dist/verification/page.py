"""The verdict for people: a short text, a page with pictures, and JSON with a schema."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from uapfp_dist.errors import UserError, printable
from uapfp_dist.pipeline.html import Section, html_report, number
from uapfp_dist.science.figures.pictures import captioned_images, perturbed_images
from uapfp_dist.science.figures.style import (
    PAGE,
    canvas,
    describe,
    named_rows,
    nothing,
    plain,
    reference,
    strip,
)
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.schema import SCHEMA, SCHEMA_VERSION
from uapfp_dist.verification.verify import Case

N_PICTURES = 6
"""Images shown with their perturbation."""
ROLES = {"homologous": "calibration", "same_data": "same_data", "other_victim": "other_victim", "piracy": "piracy"}
"""A kit's groups to the roles that figures have colours for."""
GROUP_WORDS = {
    "homologous": "honest models, other data",
    "same_data": "honest models, the victim's own data",
    "other_victim": "models stolen from others",
    "piracy": "models stolen from this victim",
}
SCORE_WORDS = {
    "uap": "similarity to the victim (mean cosine)",
    "weighted_errors": "evidence from the victim's errors (log odds)",
}


def as_json(kit: Kit, cases: Sequence[Case]) -> dict[str, Any]:
    """What verdict.json holds; SCHEMA describes it. Nothing in it depends on when or where it was made."""
    return {"schema": SCHEMA_VERSION, "kit": kit.digest, "suspects": [case.to_json() for case in cases]}


def as_text(kit: Kit, cases: Sequence[Case]) -> str:
    """A few lines per suspect."""
    return "\n\n".join("\n".join(_lines(case)) for case in cases) + f"\n\nkit {kit.digest}"


def write_verdict(out: Path, kit: Kit, cases: Sequence[Case]) -> None:
    """Lay verdict.json, its schema, verdict.txt and verdict.html into `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out: expected a folder that can be written at {out} ({error.strerror})") from error
    for name, text in {
        "verdict.json": json.dumps(as_json(kit, cases), indent=1, allow_nan=False) + "\n",
        "verdict.schema.json": json.dumps(SCHEMA, indent=1) + "\n",
        "verdict.txt": as_text(kit, cases) + "\n",
        "verdict.html": page(kit, cases),
    }.items():
        temporary = out / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / name)


def page(kit: Kit, cases: Sequence[Case]) -> str:
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


def _headline(case: Case) -> str:
    v = case.verdict
    together = "" if v.p_adjusted == v.p_value else f" (p {number(v.p_adjusted)} among all suspects)"
    return f"{printable(v.name)}: {v.claim}. p {number(v.p_value)}{together} by {v.decided_by}, alpha {v.alpha:g}."


def _findings(case: Case) -> list[str]:
    """They quote a suspect."""
    return [printable(finding) for finding in case.verdict.findings]


def _lines(case: Case) -> list[str]:
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


def _asked(case: Case) -> str:
    if case.stopped:
        return f"{case.ledger.queries} images sent, {len(case.ledger.answers)} answered and kept, none judged"
    return f"{case.ledger.queries} images sent, {case.verdict.queries} answered"


def _section(kit: Kit, case: Case) -> Section:
    v = case.verdict
    name = printable(v.name)
    asked = ", ".join(f"{key} {value}" for key, value in case.begin["suspect"].items() if value and key != "classes")
    text = (
        f"{_headline(case)}\n\nAsked: {printable(asked)}. {_asked(case)}, {case.ledger.failures} requests failed. "
        f"SHA-256 of the transcript: {case.sha256}.\n\n{' '.join(v.limits)}"
    )
    if case.stopped:
        return Section(f"{name}: not answered", text, remarks=_findings(case))
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
    return Section(f"{name}: {v.claim}", text, tables, figures, _findings(case))


def placed(case: Case) -> Figure:
    """The suspect's score among those of the calibration models and of held-out stolen ones."""
    v = case.verdict
    own = v.similarity if v.decided_by == "uap" else v.weighted_errors
    groups = [group for group in ROLES if v.scores.get(group)]
    figure, (axis,) = canvas(PAGE, 1.1 + 0.5 * max(len(groups), 1))
    for y, group in enumerate(groups):
        strip(axis, v.scores[group], y, ROLES[group])
    if not groups:
        nothing(axis)
    if np.isfinite(own):
        reference(axis, own, f"{plain(printable(v.name))[:40]}: {number(own)}", vertical=True)
    named_rows(axis, [GROUP_WORDS[group] for group in groups])
    describe(axis, SCORE_WORDS.get(v.decided_by, v.decided_by))
    return figure


def moved(kit: Kit, case: Case) -> Figure | None:
    """Some images with their perturbation, those whose answer moved the most; None where none was asked."""
    views = kit.views[case.verdict.format]
    clean, perturbed = views[0].flatten(), views[1].flatten()
    answers = case.probabilities
    known = answers[clean].isfinite().all(1) & answers[perturbed].isfinite().all(1)
    clean, perturbed = clean[known], perturbed[known]
    if not len(clean):
        return None
    change = (answers[perturbed] - answers[clean]).abs().sum(1)
    chosen: list[int] = []
    for i in change.argsort(descending=True, stable=True).tolist():
        if clean[i] not in clean[chosen]:
            chosen.append(i)
        if len(chosen) == N_PICTURES:
            break
    before, after = kit.images[clean[chosen]] / 255, kit.images[perturbed[chosen]] / 255
    captions = [_told(kit, answers[clean[i]], answers[perturbed[i]]) for i in chosen]
    # What was added to the first one; each view may have its own perturbation, and clipping takes its share.
    return perturbed_images((after - before)[0].numpy(), before.numpy(), after.numpy(), captions)


def errors_shown(kit: Kit, case: Case) -> Figure | None:
    """The victim's errors whose repetition weighs most; None where none was asked."""
    answers = case.probabilities[kit.natural]
    known = answers.isfinite().all(1).nonzero()[:, 0]
    if not len(known):
        return None
    chosen = known[kit.gain[known].argsort(descending=True, stable=True)][:N_PICTURES]
    at = kit.natural[chosen]
    pairs = zip(kit.victim_labels[at].tolist(), answers[chosen].argmax(1).tolist(), strict=True)
    names = [name.replace(":", " ")[:11] for name in kit.class_names]
    captions = [f"victim {names[victim]}: suspect {names[suspect]}" for victim, suspect in pairs]
    return captioned_images((kit.images[at] / 255).numpy(), captions)


def _told(kit: Kit, before: torch.Tensor, after: torch.Tensor) -> str:
    words = [f"{kit.class_names[int(p.argmax())][:10]} {float(p.max()):.2f}" for p in (before, after)]
    return f"{words[0]} to: {words[1]}"


def metrics_of(case: Case) -> tuple[dict[str, str], dict[str, float]]:
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
