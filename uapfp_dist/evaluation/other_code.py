"""What to say of models that another version of the code made than the one that runs."""

from collections.abc import Iterable, Sequence

from uapfp_dist.storage.code_version import code_version
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.specs import ModelSpec

UNRECORDED = "unrecorded"
"""In place of a version: artifacts did not always name one."""


def other_code(store: Store, specs: Iterable[Spec]) -> tuple[str, ...]:
    """A line on the stored models among `specs`, or none where the code that runs has made all of them."""
    found = store.headers("model", (spec.id for spec in specs if isinstance(spec, ModelSpec)))
    return by_other_code([header.code for header in found.values()], code_version())


def by_other_code(codes: Sequence[str], now: str) -> tuple[str, ...]:
    """The same of models by the versions that made them, empty where none is recorded, and the one that runs."""
    others = [code or UNRECORDED for code in codes if code != now]
    if not others:
        return ()
    named = ", ".join(sorted(set(others)))
    return (
        f"{len(others)} of {len(codes)} models were made by another version of the code ({named}); all that is made "
        f"and judged now is by {now}",
    )
