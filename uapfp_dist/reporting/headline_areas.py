"""AUC of the methods that stand beside the paper's headline, against each group of negatives."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.evaluation.judging import CHOSEN, Group
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.paper import DATASETS, paper_number
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.sections.recovery_methods import IN_PROBABILITIES
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.statistics.auc import Estimate

METHODS = (
    "uap_paper", "uap", "uap_probe", "random_probe", "clean", "ipguard_tuned", "weighted_errors", "churn",
    "weighted_churn", "weighted_churn_controls",
)  # fmt: skip
AGAINST: tuple[Group, ...] = ("homologous", "same_data", "other_victim", "sibling")
PAPERS = {"uap_paper": "auc_uap", "ipguard_tuned": "auc_ipguard"}
"""Methods beside which the paper has a number, against independent models."""


def estimate(report: EvaluationReport, method: str, group: Group) -> Estimate | None:
    """With probabilities where the paper has them, else in the format chosen on the training models."""
    formats = report.auc_detail.get(method, {})
    return formats.get(PROBABILITIES.wire if method in IN_PROBABILITIES else CHOSEN, {}).get(group)


def papers(key: str, report: EvaluationReport) -> float:
    """The paper's number on a report's data; NaN where it has none."""
    return paper_number(key, report.data.name).value if report.data.name in DATASETS else math.nan


def areas_figure(reports: Mapping[str, EvaluationReport], *, paper: bool) -> Figure:
    """The areas as a picture, a mark for each report; `paper`: and the paper's."""
    methods = [method for method in METHODS if any(method in report.auc_detail for report in reports.values())]
    ours, theirs = [], []
    for name, report in reports.items():
        for method in methods:
            for group in AGAINST:
                found = estimate(report, method, group)
                numbers = (found.mean, found.low, found.high) if found else (math.nan,) * 3
                ours.append((name, method, group, *numbers))
            if paper and method in PAPERS:
                theirs.append((name, method, "homologous", papers(PAPERS[method], report)))
    columns = ["data", "method", "group", "mean", "low", "high"]
    return figures.headline(pd.DataFrame(ours, columns=columns), pd.DataFrame(theirs, columns=columns[:4]))
