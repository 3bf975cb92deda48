"""The paper's headline beside ours, a column for each data set."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from uapfp_dist.evaluation.judging import Group
from uapfp_dist.reporting.headline_areas import AGAINST, METHODS, PAPERS, areas_figure, estimate, papers
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.reporting.recovery_schema import MethodAtRecovery
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.section_schema import SimilarityCell
from uapfp_dist.results.evaluations import claims_table
from uapfp_dist.results.markdown import details, interval, number, table

ROLES = ("piracy", "homologous")


def headline_section(reports: Sequence[EvaluationReport]) -> Iterator[str]:
    """Markdown blocks; a data set without a report is no column."""
    yield "What was measured on:"
    yield _zoos(reports)
    yield (
        "AUC of stolen models against each group of negatives, mean over resamples [95 % over models; over victims, "
        "then models, where models were stolen from others; none with fewer than five victims]. `uap_paper` and "
        "`clean` have probabilities, as in the paper; the others the format chosen on the training models:"
    )
    for group in AGAINST:
        yield f"**Against {GROUPS[group]}**"
        yield _areas(reports, group)
    if any(_stopped(report) for report in reports):
        yield "**Stolen models stopped when they came to the paper's mean recovery**, against independent ones:"
        yield _at_the_papers_recovery(reports, "homologous")
        yield "The same, against models stolen from a sibling of the victim:"
        yield _at_the_papers_recovery(reports, "sibling")
    yield "The paper's claims, each by its rule (the reports say which):"
    yield claims_table(_by_name(reports))
    yield details("Table 3's layout: similarity of fingerprints, by architecture and optimizer", _similarities(reports))


def headline_figure(reports: Sequence[EvaluationReport]) -> Figure:
    """The areas of `headline_section` as a picture."""
    return areas_figure(_by_name(reports), paper=True)


def _by_name(reports: Sequence[EvaluationReport]) -> dict[str, EvaluationReport]:
    return dict(zip(_names(reports), reports, strict=True))


def _names(reports: Sequence[EvaluationReport]) -> list[str]:
    return [f"{r.preset or r.data.name}, seed {r.seed}" for r in reports]


def _zoos(reports: Sequence[EvaluationReport]) -> str:
    rows = [
        ("models", *(str(r.models.trained + r.models.reused) if r.models else "-" for r in reports)),
        ("victim's accuracy", *(number(r.victim.accuracy) for r in reports)),
        ("recovery of stolen models", *(_recovery(r) for r in reports)),
        ("the paper's", *(number(papers("recovery", r)) for r in reports)),
        ("precision", *(r.precision or "float32" for r in reports)),
    ]
    return table(("", *_names(reports)), rows)


def _recovery(report: EvaluationReport) -> str:
    zoo = report.sections.zoo
    return interval(zoo.mean_recovery, zoo.mean_recovery_low, zoo.mean_recovery_high) if zoo else "-"


def _areas(reports: Sequence[EvaluationReport], group: Group) -> str:
    rows = []
    for method in METHODS:
        if group == "homologous" and method in PAPERS:
            words = {"uap_paper": "UAP", "ipguard_tuned": "IPGuard"}[method]
            rows.append((f"the paper's {words}", *(number(papers(PAPERS[method], r)) for r in reports)))
        rows.append((f"`{method}`", *(_area(report, method, group) for report in reports)))
    return table(("method", *_names(reports)), rows)


def _area(report: EvaluationReport, method: str, group: Group) -> str:
    found = estimate(report, method, group)
    return "-" if found is None else interval(found.mean, found.low, found.high)


def _stopped(report: EvaluationReport) -> dict[str, MethodAtRecovery]:
    """Method to its numbers on models stopped at the paper's recovery on these data."""
    wanted = papers("recovery", report)
    return {row.method: row for row in report.sections.recovery_methods or () if math.isclose(row.level, wanted)}


def _at_the_papers_recovery(reports: Sequence[EvaluationReport], group: Group) -> str:
    found = [_stopped(report) for report in reports]
    rows = [("models", *(str(next(iter(one.values())).models) if one else "-" for one in found))]
    rows += [("their recovery", *(number(next(iter(one.values())).recovery) if one else "-" for one in found))]
    for method in METHODS:
        rows.append((f"`{method}`", *(_stopped_area(one.get(method), group) for one in found)))
    return table(("method", *_names(reports)), rows)


def _stopped_area(row: MethodAtRecovery | None, group: Group) -> str:
    if row is None:
        return "-"
    return interval(*(getattr(row, f"auc_{group}{end}") for end in ("", "_low", "_high")))


def _similarities(reports: Sequence[EvaluationReport]) -> str:
    cells = [{(c.architecture, c.optimizer): c for c in r.sections.similarity_by_architecture or ()} for r in reports]
    keys = dict.fromkeys(key for one in cells for key in one)
    header = [f"{name}: {role}" for name in _names(reports) for role in ("stolen", "independent")]
    rows = (
        (" ".join(filter(None, key)), *(_similarity(one.get(key), role) for one in cells for role in ROLES))
        for key in keys
    )
    return table(("mean ± std over fingerprints (p)", *header), rows)


def _similarity(cell: SimilarityCell | None, role: str) -> str:
    mean, std, p = (getattr(cell, f"{role}_{what}", None) for what in ("mean", "std", "p"))
    if mean is None or math.isnan(mean):
        return "-"
    spread = "" if std is None or math.isnan(std) else f" ± {std:.2f}"
    return f"{mean:.2f}{spread}" + ("" if p is None or math.isnan(p) else f" ({p:.2g})")
