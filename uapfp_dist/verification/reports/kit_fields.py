"""An enrolment as a tracker shows it."""

import math
import tempfile
from pathlib import Path

import pandas as pd

from uapfp_dist.messages import printable
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.tracking.tracker import DESCRIPTION, Tracker
from uapfp_dist.verification.kit.info import Decider, Rates
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import exact_text, rates_at


def kit_tags(kit: Kit) -> dict[str, str]:
    """The kit's digest, by which verifications name it, what it can do in short, and the description of the run."""
    return {"kit": kit.digest, "answer": _in_short(kit), DESCRIPTION: _description(kit)}


def _in_short(kit: Kit) -> str:
    """What it accuses, in every format of its responses."""
    rates = main_rates(kit)
    parts = []
    for fmt, method in _deciding(kit):
        stolen, others = (rates.get(f"{test}/{fmt.wire}/{method}/all") for test in ("power", "false_accusations"))
        if stolen is not None or others is not None:
            name = "the exact sibling test" if method == "sibling_test" else str(fmt)
            parts.append(f"{name}: {_share(stolen)} of stolen, {_share(others)} of other models")
    return f"accuses at {rates_at(kit)} by {'; '.join(parts)}"[:500] if parts else "rates not measured"


def _share(rate: float | None) -> str:
    return "an unknown share" if rate is None or math.isnan(rate) else f"{rate:.0%}"


def _deciding(kit: Kit) -> list[tuple[ResponseFormat, Decider]]:
    """Format and method of each claim that it can make; the exact test reads labels, whatever is given."""
    if kit.exact_claims:
        return [(LABEL, "sibling_test")]
    return [(fmt, choice.method) for fmt, choice in kit.info.decided_by.items()]


def _description(kit: Kit) -> str:
    info = kit.info
    head = ["format", "method", "images sent", "stolen models accused", "other models accused"]
    rows = [_row(kit, *deciding) for deciding in _deciding(kit)]
    lines = [f"**A kit to find copies of a victim.** Held-out models, each judged alone at {rates_at(kit)}:", ""]
    lines += [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    if info.exact is not None:
        lines += ["", f"{'The' if info.exact.claims else 'Also the'} {exact_text(info.exact)}."]
    lines += ["", "What it does not cover:", "", *(f"- {printable(limit)}" for limit in info.limits), ""]
    lines.append(f"Every rate: [rates.csv](artifact:tables/rates.csv). Digest: `{kit.digest}`")
    return "\n".join(lines)


def _row(kit: Kit, fmt: ResponseFormat, method: Decider) -> list[str]:
    counts = []
    for rates in rates_by_test(kit).values():
        found = rates.get(fmt, {}).get(method, {}).get("all")
        counts.append(f"{found.n} of {found.of}" if found else "not measured")
    return [str(fmt), method, str((kit.info.queries or {}).get(fmt, "")), *counts]


def show_kit(tracker: Tracker, kit: Kit, folder: Path) -> None:
    """Show the rates of the methods that decide, all rates as a table, and the kit's files in `folder`.

    Raises:
        ConnectionError: the tracker cannot be reached now.
        UserError: it refuses.
    """
    tracker.log_metrics(main_rates(kit))
    tracker.refresh_metrics(all_rates(kit))
    tracker.log_files(folder)
    with tempfile.TemporaryDirectory() as beside:  # the kit's own folder holds nothing but the kit
        (Path(beside) / "tables").mkdir()
        rates_table(kit).to_csv(Path(beside, "tables", "rates.csv"), index=False)
        tracker.log_files(Path(beside))


def main_rates(kit: Kit) -> dict[str, float]:
    """Share of held-out models accused by the method that makes the claim, over all kinds, by format."""
    decide = tuple(f"/{fmt.wire}/{method}/all" for fmt, method in _deciding(kit))
    return {name: rate for name, rate in all_rates(kit).items() if name.endswith(decide)}


def all_rates(kit: Kit) -> dict[str, float]:
    """Share of held-out models accused, by format, method and kind of model."""
    table = rates_table(kit)
    return {
        f"{row.test}/{row.format}/{row.method}/{str(row.models).replace(':', '_')}": float(str(row.rate))
        for row in table.itertuples()
    }


def rates_table(kit: Kit) -> pd.DataFrame:
    """A row for every test (power on stolen models, or false accusations), format, method and kind of model."""
    rows = [
        (test, fmt.wire, method, kind, n, of, n / of)
        for test, rates in rates_by_test(kit).items()
        for fmt, methods in rates.items()
        for method, kinds in methods.items()
        for kind, (n, of) in kinds.items()
    ]
    return pd.DataFrame(rows, columns=["test", "format", "method", "models", "accused", "of", "rate"])


def rates_by_test(kit: Kit) -> dict[str, dict[ResponseFormat, dict[Decider, Rates]]]:
    """Of both tests, those of the exact sibling test among them."""
    info, exact = kit.info, kit.info.exact
    found: dict[str, dict[ResponseFormat, dict[Decider, Rates]]] = {}
    for test, rates, accused in (
        ("power", info.power, exact and exact.power),
        ("false_accusations", info.false_accusations, exact and exact.accused),
    ):
        found[test] = {fmt: dict[Decider, Rates](methods.items()) for fmt, methods in (rates or {}).items()}
        if accused:
            found[test].setdefault(LABEL, {})["sibling_test"] = {"all": accused}
    return found
