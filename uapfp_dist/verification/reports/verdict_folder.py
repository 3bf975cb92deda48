"""The files of a verdict: JSON with its schema, text, page."""

import json
from collections.abc import Sequence
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_file import verdict_json, verdict_schema
from uapfp_dist.verification.reports.verdict_page import verdict_page
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.whole_file import whole_file


def write_verdict(out: Path, kit: Kit, cases: Sequence[JudgedSuspect]) -> None:
    """Write verdict.json, verdict.schema.json, verdict.txt and verdict.html into `out`.

    Raises:
        UserError: `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"out: expected a folder that can be written at {out} ({error.strerror})", argument="out"
        ) from error
    for name, text in {
        "verdict.json": json.dumps(verdict_json(kit, cases), indent=1, allow_nan=False) + "\n",
        "verdict.schema.json": json.dumps(verdict_schema(), indent=1) + "\n",
        "verdict.txt": f"{verdict_text(kit, cases)}\n\nkit {kit.digest}\n",
        "verdict.html": verdict_page(kit, cases),
    }.items():
        with whole_file(out / name) as new:  # another job may write the same verdict
            new.write_text(text, encoding="utf-8")
