"""What Ray and the object store recorded around a death, and the report of a job."""

import json
from pathlib import Path

from faults.counting import Attempt, Stored
from faults.work import Output, read_output

DEATH = 100.0
BEFORE = Attempt("model/a", "n1", 10.0, 20.0)
LOST = Attempt("model/b", "n1", 90.0, 105.0)
AGAIN = Attempt("model/b", "n2", 106.0, 110.0)
ELSEWHERE = Attempt("model/c", "n2", 95.0, 120.0)
ATTEMPTS = [BEFORE, LOST, AGAIN, ELSEWHERE]
STORED = [Stored(19.0, "model/a"), Stored(109.0, "model/b"), Stored(119.0, "model/c")]
REPORT = {
    **{"verdicts": [{"p": 0.5}], "auc": 0.25, "failures": [], "wall_seconds": 3.0, "stage_seconds": {}},
    **{"models": {"trained": 3, "reused": 1, "failed": 0}, "workers_busy": 0.5, "environment": {}},
}


def report(folder: Path, **changed: object) -> Output:
    """As a job writes it."""
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(REPORT | changed))
    return read_output("evaluation", folder)
