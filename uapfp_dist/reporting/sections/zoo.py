"""Table 1: the zoo."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from uapfp_dist.models.cnn import TABLE_1
from uapfp_dist.reporting.section_schema import SectionNumbers, ZooNumbers
from uapfp_dist.reporting.sections.intervals import interval, with_interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.tasks.members import Member


def zoo(data: ReportData) -> ReportSection:
    """Table 1: architectures and what became of them."""
    rows = []
    members = [m for m in data.judged.members if m.role in ("victim", "piracy", "homologous")]
    for architecture in sorted({m.spec.architecture for m in members}):
        mine = [m for m in members if m.spec.architecture == architecture]
        row: dict[str, str | float] = {"architecture": architecture}
        if architecture in TABLE_1:
            spec = TABLE_1[architecture]
            row |= {
                "activation": spec.activation.__name__,
                "dropout": spec.dropout,
                "kernel": spec.kernel,
                "convolutions": spec.n_convolutions,
            }
        row["optimizers"] = ", ".join(sorted({m.spec.recipe.optimizer for m in mine}))
        row["batch sizes"] = ", ".join(map(str, sorted({m.spec.recipe.batch_size for m in mine})))
        for role in ("victim", "piracy", "homologous"):
            accuracy = [data.cards[m.spec.id].accuracy for m in mine if m.role == role]
            row[f"{role} models"] = len(accuracy)
            row[f"{role} accuracy"] = _mean(accuracy)
        row["recovery"] = _mean(_recoveries(data, mine))
        rows.append(row)
    recovery = _recoveries(data, members)
    numbers = ZooNumbers(**with_interval("mean_recovery", _mean(recovery), interval(recovery)))
    text = f"The zoo. Accuracy on EVAL; recovery is the accuracy of a stolen model over the victim's. {data.setting}."
    shown = {"table1_zoo": pd.DataFrame(rows)}
    return ReportSection("table1_zoo", "Table 1: the zoo", text, shown, {}, SectionNumbers(zoo=numbers))


def _recoveries(data: ReportData, members: Sequence[Member]) -> list[float]:
    """Of the stolen models."""
    cards = [data.cards[m.spec.id] for m in members if m.role == "piracy"]
    return [card.recovery for card in cards if card.recovery is not None]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
