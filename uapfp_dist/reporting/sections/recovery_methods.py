"""What every method tells of copies worse than the finished ones: does the paper's picture come from weak copies?"""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from uapfp_dist.evaluation.judging import by_id, chosen_by, groups_among, model_scores, victims_of
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, Ensemble
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.recovery_schema import MethodAtRecovery
from uapfp_dist.reporting.section_schema import SectionNumbers, rows_of
from uapfp_dist.reporting.sections.intervals import with_interval
from uapfp_dist.reporting.sections.paper_scoring import format_beside_paper
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import auc_over_resamples
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import Checkpoint

SIMILARITIES = ("uap_paper", "uap_probe", "random_probe", "clean")
IN_PROBABILITIES = ("uap_paper", "clean")
"""Methods that are shown with probabilities, as the paper has them, where suspects give these."""
AREAS = ("uap_paper", "uap_probe", "random_probe", "ipguard_tuned", "weighted_errors", "churn", "weighted_churn")
"""Methods that the figure draws, of those compared: no more than it has colours."""


def recovery_methods(data: ReportData) -> ReportSection | None:
    """AUC of every method against the recovery rate at which extractions were stopped."""
    levels = _levels(data.judged.members)
    if not levels:
        return None
    table = pd.DataFrame([row for method in data.resamples[0].methods for row in _rows(data, method, levels)])
    return ReportSection(
        "recovery_methods",
        "What methods tell of worse copies",
        "Extractions stopped at the first moment of a recovery rate, `level`; without one: the finished stolen models "
        "that are tested. AUC of these against each group of negatives, mean over resamples, with a 95 % bootstrap "
        "interval over models (of models stolen from others over their victims). `recovery` and, of methods with an "
        "encoder, `similarity` to the victim are means over models. `uap_paper` is the paper's: one UAP. "
        f"{_formats(data)} the format chosen on the training models. Encoders and weights learn from "
        f"finished stolen models alone. {data.setting}.",
        {"recovery_methods": table},
        {"recovery_methods": figures.recovery_methods(table, SIMILARITIES, AREAS)},
        SectionNumbers(recovery_methods=rows_of(MethodAtRecovery, table)),
    )


def _levels(members: Sequence[Member]) -> dict[float, list[int]]:
    """Recovery rate to the rows of the models that stand at it, ascending."""
    found: dict[float, list[int]] = {}
    for row, member in enumerate(members):
        if member.role == Role.CHECKPOINT_PIRACY and isinstance(member.spec.origin, Checkpoint):
            found.setdefault(member.spec.origin.recovery, []).append(row)
    return dict(sorted(found.items()))


def _rows(data: ReportData, method: str, levels: Mapping[float, list[int]]) -> Iterator[dict[str, str | float]]:
    """A row per level, and one of the finished models."""
    members, groups = data.judged.members, groups_among(data.judged.members)
    victims, wanted = victims_of(members), _format(data, method)
    picked = [(resample, model_scores(scored)) for resample, scored in chosen_by(data.resamples, method, wanted)]
    if not picked:
        return
    for level in (*levels, math.nan):
        stopped = levels.get(level)
        positives = [resample.tested(members, "piracy") if stopped is None else stopped for resample, _ in picked]
        found: dict[str, float] = {}
        for group, role in groups.items():
            sides = [
                (by_id(rows, scores, members), by_id(resample.tested(members, role), scores, members))
                for rows, (resample, scores) in zip(positives, picked, strict=True)
            ]
            # As in the table of all methods, so that the finished models have the same intervals here and there.
            drawn = numpy_rng("bootstrap", method, "chosen" if wanted is None else wanted.wire, group)
            e = auc_over_resamples(sides, drawn, victims=victims)
            found |= with_interval(f"auc_{group}", e.mean, (e.low, e.high))
        scored = [scores[row] for rows, (_, scores) in zip(positives, picked, strict=True) for row in rows]
        judged = sorted({row for rows in positives for row in rows})
        known = [card for row in judged if (card := data.cards[members[row].spec.id].recovery) is not None]
        yield {
            "method": method,
            "level": level,
            "recovery": _mean(known),
            "models": len(judged),
            "similarity": _mean(scored) if isinstance(METHODS[method], EncoderMethod | Ensemble) else math.nan,
            **found,
        }


def _format(data: ReportData, method: str) -> ResponseFormat | None:
    """The paper's; None: as chosen."""
    return format_beside_paper(data.plan.config.verdict.formats) if method in IN_PROBABILITIES else None


def _formats(data: ReportData) -> str:
    """Which methods have which format, the start of a sentence."""
    if format_beside_paper(data.plan.config.verdict.formats) is None:
        return "All methods have"
    return "It and `clean` have probabilities, other methods"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
