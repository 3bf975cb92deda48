"""How much work a task is, in images of training: what tells how long it will take, before it is performed.

An image of training goes forward and backward through a net once, in the precision of its recipe. The factors were
measured on two cores, on the small nets of Fashion-MNIST and CIFAR-10; a task is rarely off by more than a half.
"""

from __future__ import annotations

from dataclasses import dataclass

from uapfp_dist.data import Splits
from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
    Distill,
    FineTune,
    GuessedChurn,
    ModificationSpec,
    PgdTraining,
    Prune,
)
from uapfp_dist.tasks.pool_specs import PoolLabelsSpec, SiblingResponseSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import (
    Checkpoint,
    Extracted,
    Imported,
    ModelSpec,
    Modified,
    OwnerTrained,
    ProbeSpec,
    ProbeTwinSpec,
    ResponseSpec,
    SubspaceSpec,
    TrajectorySpec,
)

FORWARD = 0.3
"""An image that goes forward alone."""
FLOAT32 = 1.5
"""An image in float32, where training is in bfloat16: probes and responses are float32."""
EXTRACTION = {"knockoff": 1.0, "jacobian": 1.2, "cloudleak": 1.5, "cloudleak_features": 1.5}
"""Attack to what crafting its queries makes of training."""
OTHER_EXTRACTION = 1.5
DEEPFOOL = 11.0
"""A local perturbation by DeepFool, which considers every class."""
ADVERSARIAL = 6.5
"""An example of adversarial training by DeepFool, which considers the nearest classes."""
RADII = 0.4
"""Of the radii of a UAP, those that are tried before one fools enough images."""
SUBSPACE_ROUNDS = 1.5
"""Of the passes of a UAP of Eq. 5, until it has forgotten its start."""
TARGETED_STEPS = 100.0
"""An IPGuard point, at one lead."""
WATCHED = 100
"""Images on which an extraction is watched, for each of its steps."""
TRAJECTORY_BATCH = 128
"""Images of a step, of a recipe as they are drawn."""


@dataclass(frozen=True)
class DataSizes:
    """Images of the parts of a data set."""

    probe: int
    attack: int
    eval: int

    @staticmethod
    def of(splits: Splits) -> DataSizes:
        """Those of `splits`."""
        return DataSizes(len(splits.probe), len(splits.attack), len(splits.eval))


def net_of(spec: Spec) -> ModelSpec | None:
    """The model whose net does most of a task's work; None of a task that takes none."""
    match spec:
        case ModelSpec():
            return spec
        case ProbeSpec() | ChurnSpec():
            return spec.victim
        case ProbeTwinSpec():
            return spec.probe.victim
        case ReferenceSpec():
            return net_of(spec.probe)
        case (
            ResponseSpec()
            | ReferenceResponseSpec()
            | ChurnResponseSpec()
            | SiblingResponseSpec()
            | PoolLabelsSpec()
            | SubspaceSpec()
            | TrajectorySpec()
            | TrainingCheckpointSpec()
        ):
            return spec.model
    return None


def task_work(spec: Spec, sizes: DataSizes) -> float:
    """Images of training by `net_of(spec)` that a task is worth; 0 of an owner's own function, which nobody knows."""
    net = net_of(spec)
    exact = FLOAT32 if net is not None and net.recipe.precision == "bfloat16" else 1.0
    match spec:
        case ModelSpec():
            return model_work(spec, sizes) + exact * FORWARD * sizes.eval
        case TrajectorySpec():
            watched = exact * FORWARD * WATCHED / TRAJECTORY_BATCH * spec.model.recipe.samples_seen
            return model_work(spec.model, sizes) + watched
        case TrainingCheckpointSpec():
            return spec.model.recipe.samples_seen * spec.share
        case SubspaceSpec():
            config = spec.config
            return exact * SUBSPACE_ROUNDS * config.n_uaps * config.passes * config.n_images / 2
        case ProbeSpec() | ProbeTwinSpec() | ReferenceSpec() | ChurnSpec():
            return exact * _probe_work(spec, sizes)
        case ResponseSpec() | ReferenceResponseSpec() | ChurnResponseSpec() | PoolLabelsSpec() | SiblingResponseSpec():
            return exact * FORWARD * _asked(spec, sizes)
    return 0.0


def model_work(spec: ModelSpec, sizes: DataSizes) -> float:
    """Making a model, before it is measured; a checkpoint of an extraction or an owner's model is made already."""
    origin, seen = spec.origin, float(spec.recipe.samples_seen)
    match origin:
        case Extracted():
            return seen * EXTRACTION.get(origin.attack, OTHER_EXTRACTION)
        case Continued(start=TrainingCheckpointSpec() as start):
            return seen * (1.0 - start.share)
        case Modified():
            return _modification_work(origin.modification, spec, sizes)
        case Checkpoint() | Imported() | OwnerTrained():
            return 0.0
    return seen


def _modification_work(change: ModificationSpec, spec: ModelSpec, sizes: DataSizes) -> float:
    exact = FLOAT32 if spec.recipe.precision == "bfloat16" else 1.0
    match change:
        case FineTune(layers="all"):
            return change.epochs * sizes.attack
        case FineTune():  # on features that are computed once
            return exact * FORWARD * sizes.attack
        case Prune():
            return change.recovery_epochs * sizes.attack
        case AdversarialTraining():
            return exact * change.iterations * change.batch_size * (ADVERSARIAL + 2.0)
        case PgdTraining():
            return exact * change.iterations * change.batch_size * (change.steps + 2.0)
        case Distill():
            return float(spec.recipe.samples_seen)
        case GuessedChurn():  # its siblings, and the extraction again, whose queries are stored nowhere
            again = model_work(spec.root, sizes) if spec.extraction else 0.0
            asked = exact * FORWARD * change.n_images * (change.n_siblings + 1)
            return change.n_siblings * spec.recipe.samples_seen + again + asked
    return exact * FORWARD * sizes.attack


def _probe_work(spec: ProbeSpec | ProbeTwinSpec | ReferenceSpec | ChurnSpec, sizes: DataSizes) -> float:
    """Images that are moved by the UAPs, local perturbations and points of a probe, and those looked at for churn."""
    if isinstance(spec, ChurnSpec):
        return FORWARD * (len(spec.siblings) + 1) * _churn_pool(spec, sizes)
    probe = _own_probe(spec)
    views = probe.fingerprint.n_views * probe.fingerprint.n_points
    if isinstance(spec, ProbeTwinSpec):
        return FORWARD * sizes.probe
    if isinstance(spec, ReferenceSpec):
        points = len(spec.ipguard_k) * probe.fingerprint.n_points * TARGETED_STEPS
        return points + (DEEPFOOL * views if isinstance(spec.probe, ProbeTwinSpec) else 0.0)
    uap = probe.uap
    passes = uap.passes * (RADII * len(uap.xi_grid) + len(uap.xi_fractions) * uap.n_uaps / 8)
    looked_at = FORWARD * sizes.probe * (RADII * len(uap.xi_grid) + len(uap.xi_fractions) * uap.n_uaps) * 4
    return uap.n_images * passes + looked_at + (DEEPFOOL * (views + 2 * uap.n_images) if uap.references else 0.0)


def _own_probe(spec: ProbeSpec | ProbeTwinSpec | ReferenceSpec) -> ProbeSpec:
    """The probe of points of D_v behind any other."""
    return spec if isinstance(spec, ProbeSpec) else _own_probe(spec.probe)


def _asked(
    spec: ResponseSpec | ReferenceResponseSpec | ChurnResponseSpec | PoolLabelsSpec | SiblingResponseSpec,
    sizes: DataSizes,
) -> float:
    """Images that a model is asked, about: a point of two views is asked once."""
    if isinstance(spec, PoolLabelsSpec):
        return _main_pool(spec.pool.config, sizes)
    if isinstance(spec, SiblingResponseSpec):
        return len(spec.points.players) * spec.points.config.n_points
    if isinstance(spec, ChurnResponseSpec):
        config = spec.churn.config
        return config.max_points + (3 * config.n_points if config.twins else 0)
    of = spec.references if isinstance(spec, ReferenceResponseSpec) else spec.probe
    config_of = _own_probe(of).fingerprint
    n_views = config_of.n_views if spec.part == "all" else config_of.n_test_views
    one_view = 5 * config_of.n_points if isinstance(of, ReferenceSpec) else 0
    natural = min(config_of.max_natural, sizes.probe) if isinstance(of, ProbeSpec) else 0
    return n_views * config_of.n_points * _blocks(of) + natural + one_view


def _blocks(of: ProbeSpec | ProbeTwinSpec | ReferenceSpec) -> int:
    """Blocks of views: points as they are, and moved in several ways."""
    uap = _own_probe(of).uap
    radii = len(uap.xi_fractions)
    if isinstance(of, ProbeSpec):
        return 2 + radii + (4 + 2 * radii if uap.references else 0)
    if isinstance(of, ProbeTwinSpec):
        return 1 + 2 * radii
    return 6 + radii if isinstance(of.probe, ProbeTwinSpec) else 1


def _main_pool(config: ChurnConfig, sizes: DataSizes) -> float:
    """PROBE and small changes of its images."""
    return max(sizes.probe, min(config.pool_size, (1 + config.max_variants) * sizes.probe))


def _churn_pool(spec: ChurnSpec, sizes: DataSizes) -> float:
    """The main pool and its twins: PROBE as it is, moved by each UAP, and by as many random vectors."""
    uap = spec.probe.uap if spec.probe else None
    moved = 2 * len(uap.xi_fractions) * uap.n_uaps if uap else 0
    return _main_pool(spec.config, sizes) + (sizes.probe * (1 + moved) if spec.config.twins else 0)
