"""By which scores an evaluation is set beside the paper, and how that is said."""

from collections.abc import Collection
from dataclasses import dataclass

from uapfp_dist.response_format import PROBABILITIES, ResponseFormat

PAPERS = "uap_paper"
"""The paper's method: one UAP of its norm, on probabilities."""


@dataclass(frozen=True)
class PaperScoring:
    """The method and format of all that stands beside the paper's similarities; the paper's own, where it has them."""

    method: str
    """`uap_paper`; `uap` where that was left out."""
    format: ResponseFormat | None
    """Probabilities; None: the format chosen on the training models."""
    formats: tuple[ResponseFormat, ...]
    """What suspects are queried for."""

    @classmethod
    def among(cls, methods: Collection[str], formats: tuple[ResponseFormat, ...]) -> "PaperScoring":
        """The scoring nearest to the paper's, of the `methods` compared and the `formats` of suspects' responses.

        `uap` is never held to probabilities: it averages norms, and is itself in the format chosen alone.
        """
        method = PAPERS if PAPERS in methods else "uap"
        return cls(method, format_beside_paper(formats) if method == PAPERS else None, formats)

    @property
    def name(self) -> str:
        """For legends: `uap_paper, probabilities`."""
        return f"{self.method}, {self._one_format or 'format chosen'}"

    @property
    def words(self) -> str:
        """For texts: `one UAP of the paper's norm on probabilities`."""
        what = "one UAP of the paper's norm" if self.method == PAPERS else "`uap`, norms averaged,"
        return f"{what} {format_words(self.format, self.formats)}"

    @property
    def substitution(self) -> str:
        """What takes the place of the paper's method or of its format, and why; empty where nothing does."""
        if self.method != PAPERS:
            return f"by {self.words}: `{PAPERS}` was not computed"
        return "" if self.format == PROBABILITIES else f"by {self.words}: suspects give no probabilities"

    @property
    def _one_format(self) -> ResponseFormat | None:
        """The format, where it is the same in all resamples."""
        return self.formats[0] if self.format is None and len(set(self.formats)) == 1 else self.format


def format_beside_paper(formats: Collection[ResponseFormat]) -> ResponseFormat | None:
    """Probabilities, which the paper's suspects give; None, the format chosen, where `formats` has none of them."""
    return PROBABILITIES if PROBABILITIES in formats else None


def format_words(fmt: ResponseFormat | None, formats: tuple[ResponseFormat, ...]) -> str:
    """`on probabilities`; for None the only one of `formats`, or `in the format chosen (top3 or label)`."""
    if fmt is None and len(set(formats)) > 1:
        return f"in the format chosen ({' or '.join(map(str, formats))})"
    one = fmt or formats[0]
    return f"on {'bare labels' if one.k == 0 else one}"
