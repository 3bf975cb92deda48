"""Write the page of a folder of results: README.md, from its index.json and the reports that it names.

uapfp results --folder jobs/results
"""

from dataclasses import dataclass
from pathlib import Path

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.results.page import write_page


@dataclass(frozen=True)
class ResultsPage:
    """Write a page of results."""

    folder: Path = Path("jobs/results")
    """Folder of index.json and the reports that it names."""


def results(chosen: ResultsPage) -> None:
    """Write it, and say where."""
    print(write_page(chosen.folder))


COMMAND = Command(ResultsPage, results, __doc__, ("folder",))
