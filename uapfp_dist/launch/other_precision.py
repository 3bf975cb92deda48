"""Models that lie in the storage in the other precision: they have other ids, and are made anew."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from uapfp_dist.config.schema import Config
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.recipe import Precision
from uapfp_dist.tasks.specs import ModelSpec


def in_other_precision(config: Config, store: Store, specs_of: Callable[[Config], Iterable[Spec]]) -> str:
    """What to say of them before a run, in a line; empty where there are none.

    Args:
        config: of the run, its precision settled.
        store: where they may lie.
        specs_of: a configuration to the specs of its run.
    """
    other: Precision = "float32" if config.precision == "bfloat16" else "bfloat16"
    here = _models(specs_of(config))
    there = {key: spec for key, spec in _models(specs_of(replace(config, precision=other))).items() if key not in here}
    if not (n := len(published_ids(store, there.values()))):
        return ""
    return (
        f"{n} of these {len(here)} models lie in the storage in {other}; this run is in {config.precision} and makes "
        f"its own: precision {other} takes those up"
    )


def _models(specs: Iterable[Spec]) -> dict[str, ModelSpec]:
    """By their ids."""
    return {spec.id: spec for spec in specs if isinstance(spec, ModelSpec)}
