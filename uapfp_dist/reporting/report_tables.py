"""Tables of a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from uapfp_dist.evaluation.judging import JudgedModels, attack_of, model_scores
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.scoring import ScoredResample
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.outcomes import Failed


def methods_table(draws: Sequence[ScoredResample], body: Mapping[str, Any]) -> pd.DataFrame:
    """A row per method and format: queries, AUC per group with its interval, TPR where there are models enough."""
    rows = []
    for method, formats in body["auc_detail"].items():
        for fmt, groups in formats.items():
            scored = draws[0].chosen(method, fmt)
            row: dict[str, Any] = {
                "method": method,
                "format": fmt,
                "queries": scored.queries if scored else 0,
            }
            for group, e in groups.items():
                row |= {f"auc_{group}": e["mean"], f"auc_{group}_low": e["low"], f"auc_{group}_high": e["high"]}
            if fmt == "chosen":
                row |= {f"tpr_at_{float(f):.0%}_fpr": value for f, value in body["tpr"][method].items()}
            rows.append(row)
    return pd.DataFrame(rows).assign(about=[METHODS[row["method"]].description for row in rows])


def verdicts_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Every verdict; columns that rest on `uap`, whatever decides, say so."""
    names = {name: f"{name}_uap" for name in ("similarity", "similarity_std", "p_value_t_test", "queries")}
    return pd.DataFrame([asdict(v) for v in judged]).rename(columns=names)


def zoo_table(panelists: JudgedModels) -> pd.DataFrame:
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
            for m, accuracy in zip(panelists.members, panelists.accuracy, strict=True)
        ]
    )


def failures_of(failed: Iterable[Failed]) -> list[dict[str, Any]]:
    """What could not be made, and why, as far as is known."""
    return [
        {
            "id": f.spec.id,
            "kind": f.spec.kind,
            "words": describe(f.spec),
            "error": f.error,
            "details": f.details,
            "lost": f.skipped,
        }
        for f in failed
    ]


def failures_table(failures: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The same as a table, which has its columns also where nothing failed."""
    return pd.DataFrame(failures, columns=["id", "kind", "words", "error", "details", "lost"])


def group_scores(d: ScoredResample, panelists: JudgedModels, method: str) -> dict[str, list[float]]:
    """Role to the scores of its test models in one draw, and those of the calibration models."""
    scored = d.chosen(method)
    assert scored is not None
    scores, members = model_scores(scored), panelists.members
    found = {"calibration": [scores[row] for row in d.draw.calibration]}
    if d.draw.calibration_piracy:
        found["calibration_piracy"] = [scores[row] for row in d.draw.calibration_piracy]
    for row in d.draw.test:
        found.setdefault(members[row].role, []).append(scores[row])
    return found
