"""Which artifacts are in the store."""

from collections.abc import Callable, Iterable

from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec


def published_ids(store: Store, specs: Iterable[Spec]) -> set[str]:
    """Ids of those of `specs` whose artifacts are there; their content is checked when it is read."""
    return {key for _, key in store.has_among(spec.artifact for spec in specs)}


def stored_specs(store: Store, specs: Iterable[Spec] = ()) -> Callable[[Spec], bool]:
    """Whether a spec's artifact is there and whole; a torn one is removed, so that it is made again.

    `specs` are looked up now, many at a time; others one by one when they come.
    """
    known = {spec.artifact for spec in specs}
    whole = store.intact_among(known)

    def stored(spec: Spec) -> bool:
        pair = spec.artifact
        return pair in whole if pair in known else store.intact(*pair)

    return stored
