"""Tables of a report."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd

from uapfp_dist.evaluation.judging import CHOSEN, JudgedModels, attack_of, model_scores
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.scoring import ScoredResample
from uapfp_dist.reporting.report_schema import EvaluationReport, SpecFailure
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.outcomes import Failed


def methods_table(resamples: Sequence[ScoredResample], report: EvaluationReport) -> pd.DataFrame:
    """A row per method and format: queries, AUC per group with its interval, TPR where there are models enough."""
    rows = []
    for method, formats in report.auc_detail.items():
        for fmt, groups in formats.items():
            scored = resamples[0].chosen(method, None if fmt == CHOSEN else ResponseFormat.parse(fmt))
            row: dict[str, str | float] = {
                "method": method,
                "format": fmt,
                "queries": scored.queries if scored else 0,
            }
            for group, e in groups.items():
                row |= {f"auc_{group}": e.mean, f"auc_{group}_low": e.low, f"auc_{group}_high": e.high}
            if fmt == CHOSEN:
                row |= {f"tpr_at_{float(f):.0%}_fpr": value for f, value in report.tpr[method].items()}
            rows.append(row)
    return pd.DataFrame(rows).assign(about=[METHODS[str(row["method"])].description for row in rows])


def verdicts_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Every verdict; columns that rest on `uap`, whatever decides, say so."""
    names = {name: f"{name}_uap" for name in ("similarity", "similarity_std", "p_value_t_test", "queries")}
    return pd.DataFrame([asdict(v) for v in judged]).rename(columns=names)


def zoo_table(judged: JudgedModels) -> pd.DataFrame:
    """Every judged model with its accuracy."""
    return pd.DataFrame(
        [
            {
                "model": m.spec.id,
                "role": m.role,
                "architecture": m.spec.architecture,
                "optimizer": m.spec.recipe.optimizer,
                "batch_size": m.spec.recipe.batch_size,
                "attack": attack_of(m),
                "accuracy": accuracy,
            }
            for m, accuracy in zip(judged.members, judged.accuracy, strict=True)
        ]
    )


def failures_of(failed: Iterable[Failed]) -> tuple[SpecFailure, ...]:
    """What could not be made, and why, as far as is known."""
    return tuple(
        SpecFailure(
            id=f.spec.id,
            kind=f.spec.kind,
            description=describe(f.spec),
            error=f.error,
            details=f.details,
            skipped=f.skipped,
            permanent=f.permanent,
        )
        for f in failed
    )


def failures_table(failures: Sequence[SpecFailure]) -> pd.DataFrame:
    """The same as a table, which has its columns also where nothing failed."""
    columns = ["id", "kind", "words", "error", "details", "lost", "permanent"]
    return pd.DataFrame([to_json(failure) for failure in failures], columns=columns)


def group_scores(d: ScoredResample, judged: JudgedModels, method: str) -> dict[str, list[float]]:
    """Role to the scores of its test models in one resample, and those of the calibration models."""
    scored = d.chosen(method)
    assert scored is not None
    scores, members = model_scores(scored), judged.members
    found = {"calibration": [scores[row] for row in d.resample.calibration]}
    if d.resample.calibration_piracy:
        found["calibration_piracy"] = [scores[row] for row in d.resample.calibration_piracy]
    for row in d.resample.test:
        found.setdefault(members[row].role, []).append(scores[row])
    return found
