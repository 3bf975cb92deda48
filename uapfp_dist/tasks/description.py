"""Short descriptions of specs, for progress, failures and tables."""

from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.pool_specs import PoolLabelsSpec, SiblingPointsSpec, SiblingResponseSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import (
    Checkpoint,
    Extracted,
    ModelSpec,
    Modified,
    OwnerTrained,
    ProbeSpec,
    ProbeTwinSpec,
    ResponseSpec,
    SubspaceSpec,
    Trained,
    TrajectorySpec,
)


def describe(spec: Spec) -> str:
    """A short description such as `C sgd extracted by cloudleak (hard labels), prune .4`."""
    match spec:
        case ModelSpec():
            return ", ".join([_root(spec.root), *(modification.description for modification in spec.modifications)])
        case TrajectorySpec(model=model):
            return f"{describe(model)}, kept at {len(spec.recoveries)} recovery rates"
        case TrainingCheckpointSpec(model=model, share=share):
            return f"{describe(model)}, kept at {share:g} of the steps"
        case ProbeSpec(victim=victim):
            return f"probe of {describe(victim)}"
        case ProbeTwinSpec(probe=probe):
            return f"probe on PROBE of {describe(probe.victim)}"
        case ReferenceSpec(probe=probe):
            return f"references beside the {describe(probe)}"
        case ReferenceResponseSpec(model=model):
            return f"responses of {describe(model)} to references"
        case ChurnSpec(victim=victim):
            return f"churn points of {describe(victim)}"
        case ChurnResponseSpec(model=model):
            return f"labels of {describe(model)} on churn points"
        case PoolLabelsSpec(model=model):
            return f"labels of {describe(model)} on the pool"
        case SiblingPointsSpec(players=players):
            return f"images of the exact test of {describe(players[0])}"
        case SiblingResponseSpec(model=model):
            return f"labels of {describe(model)} on the exact test"
        case ResponseSpec(model=model):
            return f"responses of {describe(model)}"
        case SubspaceSpec(model=model):
            return f"UAPs of {describe(model)}"
    return spec.kind


def _root(spec: ModelSpec) -> str:
    net = f"{spec.architecture} {spec.recipe.optimizer}"
    match spec.origin:
        case Trained(on="victim_set"):
            return f"{net} trained on the victim's images"
        case Trained(overlap=overlap):
            text = f"{net} trained on other images" + ("" if overlap is None else f" (overlap {overlap:g})")
            return text + (f", {spec.origin.label_change.description}" if spec.origin.label_change else "")
        case Continued(description=start):
            return f"{net} trained on the victim's images {start}"
        case OwnerTrained(function=function):
            return f"{spec.architecture} trained on the victim's images by {function}"
        case Extracted() as stolen:
            return f"{net} {_theft(stolen)}"
        case Checkpoint(trajectory=trajectory, recovery=recovery):
            return f"{_root(trajectory.model)} at recovery {recovery:g}"
        case Modified():
            return _root(spec.root)
    return f"{net} {type(spec.origin).__name__.lower()}"


def _theft(stolen: Extracted) -> str:
    """`extracted by knockoff (hard labels)`, and from what, if its victim was extracted itself."""
    labels = f"{stolen.labels_name} labels"
    earlier = stolen.victim.extraction
    return f"extracted by {stolen.attack_name} ({labels})" + (f" from one {_theft(earlier)}" if earlier else "")
