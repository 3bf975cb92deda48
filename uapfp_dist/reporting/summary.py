"""The answer as a terminal shows it."""

from textwrap import fill

from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.number_format import NOT_MEASURED
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.text_tables import aligned_table

WIDTH = 100


def summary(report: EvaluationReport) -> str:
    """The sentences, wrapped, and the table of at most eight methods; ASCII, for any terminal."""
    found = answer(report)
    first, *others = found.sentences
    lines = [
        fill(first, WIDTH),
        "",
        *(fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ") for text in others),
    ]
    table = aligned_table(found.table())
    return "\n".join([*lines, "", fill(found.caption, WIDTH), table]).replace(NOT_MEASURED, "-")
