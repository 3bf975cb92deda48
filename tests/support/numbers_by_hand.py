"""Numbers of a report written by hand, and the claim that is checked by them."""

import math
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from uapfp_dist.reporting.section_schema import (
    ClaimCheck,
    ModifiedGroup,
    SectionNumbers,
)
from uapfp_dist.reporting.sections.claims import check_claims
from uapfp_dist.reporting.sections.paper_scoring import PaperScoring
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.statistics.auc import Estimate

T = TypeVar("T")
NOTHING = SectionNumbers()


def filled(kind: type[T], **values: object) -> T:
    """A row in which all other numbers are NaN."""
    return kind(**{item.name: math.nan for item in fields(kind)} | values)  # type: ignore[arg-type]


def data(**auc: dict[str, float]) -> Any:
    """What claims may look at: AUC against homologous models by method and format."""
    areas = {"uap": {}, "uap_paper": {"prob": 0.99}, **auc}
    report = SimpleNamespace(
        auc={m: {fmt: {"homologous": value} for fmt, value in formats.items()} for m, formats in areas.items()},
        auc_detail={
            m: {fmt: {"homologous": Estimate(value, value - 0.1, 1.0, value, 0.0)} for fmt, value in formats.items()}
            for m, formats in areas.items()
        },
        calibration=SimpleNamespace(models=19),
        power=SimpleNamespace(conformal=0.8),
        uap=SimpleNamespace(fooling_rate=0.84),
    )
    config = SimpleNamespace(uap=SimpleNamespace(xi_fractions=(0.5, 0.7)))
    plan = SimpleNamespace(config=config, churn=None, data=SimpleNamespace(name="fashion_mnist"))
    members = tuple(SimpleNamespace(role=role) for role in ("victim", "piracy", "homologous", "same_data"))
    judged = SimpleNamespace(members=members)
    scoring = PaperScoring.among(areas, (PROBABILITIES,))
    return SimpleNamespace(
        report=report, alpha=0.05, plan=plan, setting="by hand", judged=judged, paper_scoring=scoring
    )


def claim(about: str, sections: SectionNumbers = NOTHING, **auc: dict[str, float]) -> ClaimCheck:
    """The claim with `about` in its text."""
    (one,) = [c for c in check_claims(data(**auc), sections).numbers.claims or () if about in c.claim]
    return one


def modified(**similarities: float) -> tuple[ModifiedGroup, ...]:
    """Rows of the modifications' table, by short names for those that no keyword can hold."""
    names = {"fine_tune": "fine-tune", "last": "fine-tune last layer", "new_last": "fine-tune new last layer",
             "prune": "prune .4", "recovered": "prune .4 + recovery", "both": "prune .4 + fine-tune"}  # fmt: skip
    return tuple(
        filled(
            ModifiedGroup,
            modification=names.get(name, name),
            role="piracy",
            similarity=s,
            lowest_similarity=s - 0.05,
        )
        for name, s in similarities.items()
    )


def half_stolen(*recoveries: float) -> pd.DataFrame:
    """A model at each rate, of an extraction of its own; its similarity is its number."""
    table = pd.DataFrame({"recovery": recoveries, "similarity": np.arange(len(recoveries), dtype=float)})
    return table.assign(similarity_chosen=0.5, p_value_chosen=0.05, base=[f"{i}" for i in range(len(recoveries))])
