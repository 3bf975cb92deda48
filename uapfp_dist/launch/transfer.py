"""Read a finished evaluation for a transfer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.command_line import evaluation_command, evaluation_flags
from uapfp_dist.config.methods import with_methods
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import ResolvedPaths
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.evaluation.transfer import Side
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.launch.images import load_images
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker


def read_side(name: str, seed: int, n_points: int | None, paths: ResolvedPaths) -> Side:
    """An evaluation's responses to its probe.

    Args:
        name: its preset.
        seed: its seed.
        n_points: points per fingerprint; None: as in the preset.
        paths: its storage and data.

    Raises:
        UserError: it is not finished.
    """
    config = preset(name)
    if n_points is not None:
        config = replace(config, fingerprint=replace(config.fingerprint, n_points=n_points))
    plan = make_plan(config, seed, load_images(config.data, paths))
    # Whatever methods it compared, it has the responses to its probe, and no more is read.
    plan = replace(plan, churn=None, probe_twin=None, references=())
    store = Store(paths.storage)
    stored = stored_specs(store)
    missing = Counter(str(member.role) for member in plan.judged if not stored(plan.response(member)))
    if (n := missing.total()) > len(plan.judged) // 10:
        command = evaluation_command(evaluation_flags(name, seed, with_methods(config, name)), paths.storage)
        raise UserError(
            f"{name}: expected a finished evaluation in {paths.storage}, {n} of {len(plan.judged)} models have "
            f"not answered; run {command}"
        )
    matrix = Evaluator(plan, store, NullTracker()).matrix()[0]
    return Side(plan, matrix, plan.pool_of(matrix.members), missing)


def without(missing: Mapping[str, int]) -> str:
    """What an evaluation lacks in a few words, such as `without 1 homologous, 2 piracy, which ...`.

    Args:
        missing: role to a number of models; at least one.
    """
    return f"without {', '.join(f'{n} {role}' for role, n in sorted(missing.items()))}, which are not in the storage"
