"""What a spec takes: its share of a GPU, its time at most."""

from collections.abc import Mapping
from types import MappingProxyType

from uapfp_dist.models.torchvision_nets import PAPER_NETS
from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.pool_specs import PoolLabelsSpec, SiblingPointsSpec, SiblingResponseSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.run_specs import TrainingCheckpointSpec
from uapfp_dist.tasks.specs import (
    ModelSpec,
    Modified,
    OwnerTrained,
    ProbeSpec,
    ProbeTwinSpec,
    ResponseSpec,
    SubspaceSpec,
    TrajectorySpec,
)

SMALL_NETS = frozenset((*"ABCDE", "residual", "mlp"))
"""Those that call themselves `Net.small`, which a test compares: nothing is built to find out."""
GPU_SHARES = dict.fromkeys(SMALL_NETS, 0.25) | dict.fromkeys(PAPER_NETS, 0.5)
"""Architecture to its share of a GPU. Small nets leave most of one idle: four trainings share it. So do the paper's
ResNets, VGG, DenseNet and GoogLeNet on small images, of which two do: what finds no memory is tried again alone."""
LARGE_SHARE = 1.0
"""Of every other architecture, whose images may be large."""
SMALL_SECONDS, LARGE_SECONDS = 3600.0, 86400.0
"""After which a spec of small nets counts as hung, and one of larger nets: a ResNet takes a CPU many hours."""
NO_SHARES: Mapping[str, float] = MappingProxyType({})


def gpu_share(spec: Spec, given: Mapping[str, float] = NO_SHARES) -> float:
    """The share of a GPU of the largest net that `spec` loads: its own model, or one that it queries.

    Without a net it works on the CPU, and the smallest share will do.

    Args:
        spec: what a worker is to do.
        given: architecture to its share, in place of the default.
    """
    known = {**GPU_SHARES, **given}
    shares = [known.get(model.architecture, LARGE_SHARE) for model in _loaded(spec)]
    return max(shares, default=min(known.values()))


def seconds_for(spec: Spec) -> float:
    """How long `spec` may take; an owner's function trains as long as it likes, whatever the net.

    Of images alone nobody knows how large they are: they have as long as a large net.
    """
    own = isinstance(spec, ModelSpec) and isinstance(spec.origin, OwnerTrained)
    models = _loaded(spec)
    small = models and not own and all(model.architecture in SMALL_NETS for model in models)
    return SMALL_SECONDS if small else LARGE_SECONDS


def _loaded(spec: Spec) -> list[ModelSpec]:
    """The models whose nets are loaded, or whose labels are read; none for images alone.

    An extracted model, modified since or not, is compared with its victim.
    """
    match spec:
        case ModelSpec(origin=origin, extraction=extraction):
            modified = [origin.of] if isinstance(origin, Modified) else []
            return [spec, *modified, *([extraction.victim] if extraction else [])]
        case TrajectorySpec(model=model) | TrainingCheckpointSpec(model=model):
            return _loaded(model)
        case ResponseSpec(model=model) | SubspaceSpec(model=model) | ProbeSpec(victim=model):
            return [model]
        case ReferenceResponseSpec(model=model) | ChurnResponseSpec(model=model) | ChurnSpec(victim=model):
            return [model]
        case PoolLabelsSpec(model=model) | SiblingResponseSpec(model=model):
            return [model]
        case ProbeTwinSpec(probe=probe) | ReferenceSpec(probe=probe):
            return _loaded(probe)
        case SiblingPointsSpec(players=players):
            return list(players)
    return []
