"""Specs in words, for progress, failures and tables."""

from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, ModificationSpec, Prune
from uapfp_dist.tasks.specs import (
    Checkpoint,
    Extracted,
    ModelSpec,
    Modified,
    ProbeSpec,
    ResponseSpec,
    SubspaceSpec,
    Trained,
    TrajectorySpec,
)


def describe(spec: Spec) -> str:
    """A short description such as `C sgd extracted by cloudleak (hard labels), prune .4`."""
    match spec:
        case ModelSpec():
            return ", ".join([_root(spec.root), *map(describe_modification, spec.changes)])
        case TrajectorySpec(model=model):
            return f"{describe(model)}, kept at {len(spec.recoveries)} recovery rates"
        case ProbeSpec(victim=victim):
            return f"probe of {describe(victim)}"
        case ResponseSpec(model=model):
            return f"answers of {describe(model)}"
        case SubspaceSpec(model=model):
            return f"UAPs of {describe(model)}"
    return spec.kind


def _root(spec: ModelSpec) -> str:
    net = f"{spec.architecture} {spec.recipe.optimizer}"
    match spec.origin:
        case Trained(on="victim_set"):
            return f"{net} trained on D_v"
        case Trained(overlap=overlap):
            return f"{net} trained on D_homo" + ("" if overlap is None else f" (overlap {overlap:g})")
        case Extracted(attack=attack, labels=labels):
            return f"{net} extracted by {attack} ({labels.extraction_wire} labels)"
        case Checkpoint(trajectory=trajectory, recovery=recovery):
            return f"{_root(trajectory.model)} at recovery {recovery:g}"
        case Modified():
            return _root(spec.root)
    return f"{net} {type(spec.origin).__name__.lower()}"


def describe_modification(change: ModificationSpec) -> str:
    """A short name for tables, such as `prune .4 + recovery`."""
    match change:
        case FineTune(layers=layers):
            return {"last": "fine-tune last layer", "new_last": "fine-tune new last layer"}.get(layers, "fine-tune")
        case Prune(share=share, recovery_epochs=epochs):
            return f"prune {share:g}".replace("0.", ".") + (" + recovery" if epochs else "")
        case Int8():
            return "INT8"
        case AdversarialTraining(iterations=iterations, start=start, labels=labels):
            return f"adversarial training {start + iterations} ({labels} labels)"
        case Distill(labels=labels):
            return "distillation" if labels == PROBABILITIES else f"distillation ({labels.extraction_wire} labels)"
