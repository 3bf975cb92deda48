"""Tables of evaluations: one of them, or a preset over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence

from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.evaluation.modified_models import UNCHANGED
from uapfp_dist.reporting.churn_schema import ExactClaims
from uapfp_dist.reporting.model_names import COLUMNS, ROLES
from uapfp_dist.reporting.over_seeds import auc_rows, decision_rows, zoo_blocks
from uapfp_dist.reporting.report_schema import EvaluationReport, reported_groups
from uapfp_dist.reporting.sections.lineage_claims import IDENTIFIES_VICTIM
from uapfp_dist.results.markdown import details, interval, number, table

FIRST = (
    "weighted_churn", "churn", "uap", "random", "uap_probe", "random_probe", "weighted_errors", "clean",
    "ipguard_tuned",
)  # fmt: skip
"""Methods that are shown before the others."""


EXACT_ROLES = ("piracy", "homologous", "same_data", "other_victim_piracy", "sibling_piracy")
"""Groups of models to which nothing more was done."""
REWORDED = {
    "fingerprints by UAP tell stolen from independent models": "fingerprints by UAP tell piracy from homologous models",
    "Inconsist of independent models is 3 times that of stolen ones (Fig. 2b)": (
        "Inconsist of homologous models is 3 times that of piracy (Fig. 2b)"
    ),
}
"""Claims as some reports word them to how others do."""


def setting(reports: Sequence[EvaluationReport]) -> str:
    """Data, models, seeds and software of reports, in a line."""
    first = reports[0]
    counts = [r.models for r in reports if r.models is not None]
    models, failed = sum(c.trained + c.reused for c in counts), sum(c.failed for c in counts)
    walls = sorted(r.wall_seconds for r in reports if r.wall_seconds is not None)
    parts = [
        f"data `{first.data.name}`",
        f"{'seeds' if reports[1:] else 'seed'} {', '.join(str(r.seed) for r in reports)}",
        f"{models} models ({failed} failed)",
        f"{first.n_resamples} resamples{' a seed' if reports[1:] else ''}",
        f"{first.calibration.models} independent calibration models",
    ]
    if first.environment is not None:
        parts.append(f"torch {first.environment.torch}")
    if walls:
        parts.append(f"wall time {_minutes(walls[0])}" + (f" to {_minutes(walls[-1])}" if walls[1:] else ""))
    return ", ".join(parts) + "."


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def seeds_section(reports: Sequence[EvaluationReport]) -> Iterator[str]:
    """AUC of every method and rates of the verdict, mean ± standard error over seeds; and every zoo alone."""
    yield "AUC of stolen models against each group of negatives, mean ± standard error over seeds:"
    head, rule, *rows = auc_rows(reports)
    yield from _shortened((head, rule), dict(zip(reports[0].auc, rows, strict=True)))
    yield "\n".join(decision_rows(reports))
    yield from zoo_blocks(reports)
    yield from exact_blocks(reports)
    if any(report.sections.claims for report in reports):
        yield "The paper's claims, each by its rule, zoo by zoo:"
        yield claims_table({f"seed {r.seed}": r for r in reports})


def evaluation_section(report: EvaluationReport) -> Iterator[str]:
    """AUC of every method with its interval over models, the verdict's rates, the paper's claims and numbers."""
    groups = reported_groups(report)
    equal = report.sections.auc_at_equal_budget or {}
    yield (
        "AUC of stolen models against each group of negatives by the format chosen on the training models, mean over "
        "resamples [95 % over models]; the last column is the AUC against independent models with at most 200 images:"
    )
    columns = ("method", *(COLUMNS[group] for group in groups), "soft labels", "200 images")
    cells = (
        (
            f"`{method}`",
            *(_estimate(report, method, group) for group in groups),
            number(_soft(report, method)),
            number(equal.get(method, {}).get("homologous", math.nan)),
        )
        for method in report.auc
    )
    head, rule, *lines = table(columns, cells).splitlines()
    yield from _shortened((head, rule), dict(zip(report.auc, lines, strict=True)))
    yield "\n".join(decision_rows([report]))
    yield from exact_blocks([report])
    yield from removal_blocks(report)
    if claims := report.sections.claims:
        yield "The paper's claims:"
        yield table(
            ("claim", "paper", "measured", "outcome"),
            ((c.claim, c.paper, c.measured, f"**{c.outcome}**") for c in claims),
        )
    if numbers := report.sections.beside_paper:
        rows = ((n.where, n.quantity, n.paper, interval(n.ours, n.ours_low, n.ours_high)) for n in numbers)
        yield details("Every number of the paper beside ours", table(("where", "quantity", "paper", "ours"), rows))


def lineage_section(reports: Sequence[EvaluationReport]) -> Iterator[str]:
    """AUC against models stolen from siblings, by seed."""
    yield "AUC of stolen models against those stolen from **siblings**, mean over resamples [95 % over models]:"
    header = ("method", *(f"seed {r.seed}" for r in reports))
    rows = {method: (f"`{method}`", *(_estimate(r, method, "sibling") for r in reports)) for method in reports[0].auc}
    head, rule, *lines = table(header, rows.values()).splitlines()
    yield from _shortened((head, rule), dict(zip(rows, lines, strict=True)))
    claims = ((r.seed, claim) for r in reports for claim in r.sections.claims or ())
    outcomes = [f"seed {seed} **{c.outcome}**" for seed, c in claims if c.claim == IDENTIFIES_VICTIM]
    yield f'Claim "{IDENTIFIES_VICTIM}": {", ".join(outcomes)}.'


def exact_blocks(reports: Sequence[EvaluationReport]) -> Iterator[str]:
    """What the exact sibling test claims of every group, over all reports that have it."""
    rows = [row for report in reports for row in report.sections.exact or ()]
    if not rows:
        return
    alpha = reports[0].false_accusation.alpha
    yield (
        f"The exact sibling test, unweighted: models that it claims at alpha {alpha:g}, each judged alone. Its error "
        "rate is that over victims; models of one victim hang together, and one stolen from a sibling that is a player "
        "agrees with that one most, so that it can hardly be claimed:"
    )
    roles = [role for role in EXACT_ROLES if any(row.role == role for row in rows)]
    sizes = dict.fromkeys(row.points for row in rows)
    yield table(("images", *(ROLES[role] for role in roles)), (_exact_row(rows, size, roles) for size in sizes))


def _exact_row(rows: Sequence[ExactClaims], size: int, roles: Sequence[str]) -> tuple[str, ...]:
    of_size = [row for row in rows if row.points == size]
    images = sorted({row.images for row in of_size})
    sent = f"{images[0]}" if len(images) == 1 else f"{images[0]} to {images[-1]}"
    cells = []
    for role in roles:
        mine = [row for row in of_size if row.role == role]
        cells.append(f"{sum(round(row.claimed * row.models) for row in mine)}/{sum(row.models for row in mine)}")
    return (f"{sent} ({size} of each player)", *cells)


def removal_blocks(report: EvaluationReport) -> Iterator[str]:
    """What attacks cost and leave of the evidence; a column per test and number of images."""
    if not (groups := report.sections.removal):
        return
    columns = list(dict.fromkeys((one.test, one.images) for group in groups for one in group.caught))
    shares = [{(one.test, one.images): one for one in group.caught} for group in groups]
    header = (
        "models",
        "what was done",
        "made",
        "tested",
        "accuracy",
        "lost",
        *(f"`{test}`, {n:,}" for test, n in columns),
    )
    rows = (
        (
            ROLES[group.role],
            group.change,
            str(group.made),
            str(group.models),
            f"{group.accuracy:.3f}" if group.models else "-",
            f"{group.accuracy_lost:+.3f}" if group.models and group.change != UNCHANGED else "-",
            *(number(found[column].share) if column in found else "-" for column in columns),
        )
        for group, found in zip(groups, shares, strict=True)
    )
    yield (
        "What was done to stolen and independent models, what it cost in accuracy, and the share still caught by each "
        "test and number of images. By a method: those above every negative that did not train, models stolen from "
        "siblings and other victims among them (an independent model is compared with all but itself and what it was "
        f"made of), mean over resamples; by the exact test: at alpha {report.false_accusation.alpha:g}. Negatives that "
        "are caught would be accused wrongly."
    )
    yield details(f"{len(groups)} groups of models, by what was done to them", table(header, rows))


def claims_table(reports: Mapping[str, EvaluationReport]) -> str:
    """The outcome of every claim, a column for each report."""
    outcomes = [
        {REWORDED.get(claim.claim, claim.claim): claim.outcome for claim in report.sections.claims or ()}
        for report in reports.values()
    ]
    claims = dict.fromkeys(claim for one in outcomes for claim in one)
    rows = ((claim, *(f"**{one[claim]}**" if claim in one else "-" for one in outcomes)) for claim in claims)
    return table(("claim", *reports), rows)


def _shortened(head: Sequence[str], rows: Mapping[str, str]) -> Iterator[str]:
    """A table of the methods that are shown first, and behind a fold that of all, where there are more."""
    first = [rows[method] for method in FIRST if method in rows]
    yield "\n".join((*head, *first))
    if len(first) < len(rows):
        yield details(f"All {len(rows)} methods", "\n".join((*head, *rows.values())))


def _soft(report: EvaluationReport, method: str) -> float:
    return report.auc_soft_piracy.get(method, {}).get(CHOSEN, {}).get("homologous", math.nan)


def _estimate(report: EvaluationReport, method: str, group: Group) -> str:
    found = report.auc_detail.get(method, {}).get(CHOSEN, {}).get(group)
    return "-" if found is None else interval(found.mean, found.low, found.high)
