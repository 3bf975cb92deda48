"""What the checks of the paper's claims share."""

import math
from typing import Literal

from uapfp_dist.reporting.report_schema import AucTable
from uapfp_dist.reporting.sections.paper_scoring import PaperScoring

Outcome = Literal["reproduced", "partly", "not reproduced", "not measured"]


def graded(whole: bool, part: bool) -> Outcome:
    return "reproduced" if whole else "partly" if part else "not reproduced"


def not_computed(table: AucTable, *methods: str) -> str:
    """Which methods the evaluation did not compare, in words; nothing where it compared them all."""
    absent = [method for method in methods if method not in table]
    return f"not computed: {', '.join(absent)}" if absent else ""


def substituted(scoring: PaperScoring) -> str:
    """The end of what was measured by similarities beside the paper's: what stands in for its method, if anything."""
    return f"; {scoring.substitution}" if scoring.substitution else ""


def auc_of(table: AucTable, method: str, fmt: str) -> float:
    """Against homologous models; NaN where it was not measured."""
    return table.get(method, {}).get(fmt, {}).get("homologous", math.nan)
