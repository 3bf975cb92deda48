"""The answer of a report in plain words: can this fingerprint be trusted here, and against whom not?"""

from dataclasses import dataclass

from uapfp_dist.reporting.report_schema import EvaluationReport


@dataclass(frozen=True)
class Answer:
    """What a reader of two minutes takes home."""

    sentences: tuple[str, ...]
    """Plain text; the first one is the answer, those after it the numbers that it rests on."""

    def markdown(self) -> str:
        """The sentences and the table of methods, as Markdown without a heading."""
        first, *others = self.sentences
        return "\n".join([f"**{first}**", "", *(f"- {sentence}" for sentence in others)]) + "\n"


def answer(report: EvaluationReport) -> Answer:
    """The answer, by stated rules, from the numbers of a report alone."""
    return Answer((f"AUC over {report.n_resamples} resamples.",))
