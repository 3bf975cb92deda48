"""IPGuard held against a public implementation on the same images and models. Its authors published none.

    git clone https://github.com/Testing4AI/DeepJudge
    pip install tensorflow-cpu tf_keras
    uapfp evaluate --preset digits --storage results
    python jobs/public_ipguard.py --checkout DeepJudge --preset digits --storage results --report ipguard.json

DeepJudge (Chen et al., IEEE S&P 2022) has IPGuard (Cao et al., AsiaCCS 2021) as a baseline. Its function moves images
of D_v one by one, in TensorFlow, by the logits and gradients of the victim's own PyTorch net; ours moves the same ones.
Both are judged by the paper's matching rate: the share of the points to which a model gives the victim's label.
"""

import importlib.util
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from uapfp_dist.command import main
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import FilesConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.fingerprints.ipguard_targets import targeted_points
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.transfer import without
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.rng import torch_rng
from uapfp_dist.statistics.auc import auc
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tasks.members import NEGATIVE_ROLES, STOLEN_ROLES, Member

FILE = Path("baselines/fingerprinting-blackbox/generation.py")
FUNCTION = "CBA"
KIND = "public_ipguard"
"""Of the artifacts: their points, some seconds of work each."""

Logits = Callable[[Any], Any]
"""(1, c, h, w) images to (1, C) logits, both of TensorFlow."""


@dataclass(frozen=True)
class PublicIPGuard:
    """Compare on a finished evaluation."""

    checkout: Path
    """Folder of DeepJudge's repository."""
    preset: str = "digits"
    """Of the evaluation."""
    seed: int = 0
    """Of the evaluation."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the evaluation."""
    k: tuple[float, ...] = (5.0,)
    """Leads of the wanted label that the points shall have; 5 is what their code takes."""
    n_images: int = 100
    """Images of D_v, at most those of a fingerprint."""
    files: Annotated[FilesConfig, tyro.conf.arg(name="")] = field(default_factory=FilesConfig)


@dataclass(frozen=True)
class Compared:
    """Points of one implementation at one k; the keys are roles."""

    whose: str
    k: float
    points: int
    """That are judged: of ours those that reached their label, of theirs all, as their code has it."""
    moved: int
    """Of all images, those to which the victim gives another label than before."""
    farthest: float
    """Largest change of a pixel; images are in [0, 1]."""
    matching_rate: dict[str, float]
    """Mean over the models of a role."""
    area: dict[str, float]
    """AUC of stolen models by their matching rates against a group of negatives."""


@dataclass(frozen=True)
class Comparison:
    """What came of both."""

    preset: str
    seed: int
    models: dict[str, int]
    """By role."""
    images: int
    rows: tuple[Compared, ...]
    missing: dict[str, int] = field(default_factory=dict)
    """Role to the number of its models that could not be made, and are in no number."""


def load_theirs(checkout: Path) -> Any:
    """Their module, on the optimizers of the Keras that it was written for.

    Raises:
        UserError: no such file, another function, or no TensorFlow.
    """
    path = checkout / FILE
    if not path.is_file():
        raise UserError(f"checkout: expected {FILE} in {checkout}, found none; clone github.com/Testing4AI/DeepJudge")
    environment = dict(os.environ)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    spec = importlib.util.spec_from_file_location("public_ipguard_theirs", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)  # it chooses a GPU through the environment
        module.keras = SimpleNamespace(
            optimizers=SimpleNamespace(Adam=module.keras.optimizers.legacy.Adam), layers=module.keras.layers
        )
    except ImportError as error:
        raise UserError(f"expected TensorFlow ({error}); run pip install tensorflow-cpu tf_keras") from error
    finally:
        os.environ.clear()
        os.environ.update(environment)
    if not hasattr(module, FUNCTION):
        raise UserError(f"checkout: expected {FUNCTION} in {path}, found none; take another commit")
    return module


def tensorflow_logits(net: nn.Module, tf: Any) -> Logits:
    """The logits of a PyTorch net, and their gradient, in TensorFlow's eager mode.

    Their function asks for the same logits nine times a step; the net is run for the first.
    """
    last: list[tuple[np.ndarray, Tensor, Tensor]] = []

    def run_once(x: np.ndarray) -> tuple[Tensor, Tensor]:
        if not last or not np.array_equal(last[0][0], x):
            images = torch.from_numpy(x.copy()).requires_grad_()
            with torch.enable_grad():
                last[:] = [(x.copy(), images, net(images))]
        return last[0][1:]

    @tf.custom_gradient  # type: ignore[misc]
    def through(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        images, logits = run_once(np.array(x))

        def gradient(upstream: Any) -> Any:
            wanted = torch.from_numpy(np.array(upstream))
            (found,) = torch.autograd.grad(logits, images, wanted, retain_graph=True)
            return tf.constant(found.numpy())

        return tf.constant(logits.detach().numpy()), gradient

    return lambda x: through(tf.convert_to_tensor(x))


def their_points(theirs: Any, net: nn.Module, images: Tensor, k: float, store: Store, victim: str) -> Tensor:
    """(n, c, h, w) points that their function makes of `images`, one by one; those that are stored are not made again.

    Args:
        theirs: from `load_theirs`.
        net: the victim, in evaluation mode.
        images: (n, c, h, w) in [0, 1].
        k: lead of the label that is wanted.
        store: keeps each point.
        victim: its id.
    """
    logits, move, points = tensorflow_logits(net, theirs.tf), getattr(theirs, FUNCTION), []
    code = Path(str(theirs.__file__)).read_text()
    for image in tqdm(images.split(1), desc=f"theirs, k {k:g}", mininterval=1.0):
        key = content_id((code, victim, k, image.flatten().tolist()))
        if not store.intact(KIND, key):
            point = torch.from_numpy(np.array(move(logits, image.numpy(), k=k)))
            store.put(KIND, key, {"point": point}, {})
        points.append(store.get(KIND, key).tensors["point"])
    return torch.cat(points)


def judge(
    points: Tensor, of: Tensor, victim: nn.Module, nets: dict[str, list[nn.Module]], whose: str, k: float
) -> Compared:
    """Matching rates of all models on points.

    Args:
        points: (n, c, h, w), those to judge by.
        of: (N, c, h, w), the images as they were and then as they came out, where N is 2 n or more.
        victim: in evaluation mode.
        nets: by role.
        whose: implementation.
        k: lead.
    """
    before, after = of.chunk(2)
    wanted = predict_probabilities(victim, points).argmax(1)
    rates = {
        role: torch.stack([(predict_probabilities(net, points).argmax(1) == wanted).double().mean() for net in ones])
        for role, ones in nets.items()
    }
    stolen = torch.cat([rates[role] for role in map(str, STOLEN_ROLES) if role in rates])
    changed = predict_probabilities(victim, before).argmax(1) != predict_probabilities(victim, after).argmax(1)
    return Compared(
        whose,
        k,
        len(points),
        int(changed.sum()),
        float((after - before).abs().max()),
        {role: float(rate.mean()) for role, rate in rates.items()},
        {str(role): auc(stolen, rates[str(role)]) for role in NEGATIVE_ROLES if str(role) in rates},
    )


def compare(chosen: PublicIPGuard) -> Comparison:
    """Both implementations at every k.

    Raises:
        UserError: the evaluation is not there, or not finished.
    """
    theirs = load_theirs(chosen.checkout.expanduser())
    paths = resolve(chosen.files.runtime)
    config = with_precision(replace(preset(chosen.preset), precision=chosen.precision), 0.0)
    plan = make_plan(config, chosen.seed, load_images(config.data, paths))
    store = Store(paths.storage)
    if plan.probe is None or not store.has(plan.probe.kind, plan.probe.id):
        raise UserError(
            f"{chosen.preset}: expected an evaluation of seed {chosen.seed} in {chosen.precision} in {paths.storage}, "
            "found none; run uapfp evaluate first"
        )
    context = TaskContext(store, paths.data_root, torch.device("cpu"))
    nets: dict[str, list[nn.Module]] = {}
    members, missing = _judged(plan.judged, store, chosen.preset)
    for member in members:
        nets.setdefault(str(member.role), []).append(context.net(member.spec))
    victim, probe = context.net(plan.probe.victim), context.probe(plan.probe)
    images = probe.points[probe.views[0]][: chosen.n_images]
    rows = []
    for k in chosen.k:
        found = targeted_points(victim, images, k, torch_rng(plan.probe.id, f"public {k:g}"))
        both = torch.cat([images, found.images])
        if bool(found.reached.any()):
            rows.append(judge(found.images[found.reached], both, victim, nets, "ours", k))
        points = their_points(theirs, victim, images, k, store, plan.probe.victim.id)
        rows.append(judge(points, torch.cat([images, points]), victim, nets, "theirs", k))
    counts = {role: len(ones) for role, ones in nets.items()}
    return Comparison(chosen.preset, chosen.seed, counts, len(images), tuple(rows), missing)


def _judged(members: tuple[Member, ...], store: Store, name: str) -> tuple[list[Member], dict[str, int]]:
    """Plain models that are there, stolen ones and negatives, none modified; and role to how many are not.

    Raises:
        UserError: more than a tenth is missing.
    """
    roles = {*STOLEN_ROLES, *NEGATIVE_ROLES}
    plain = [member for member in members if member.role in roles]
    there = [member for member in plain if store.has(member.spec.kind, member.spec.id)]
    missing = Counter(str(member.role) for member in plain) - Counter(str(member.role) for member in there)
    if missing.total() > len(plain) // 10:
        raise UserError(
            f"{name}: expected a finished evaluation in {store.url}, {missing.total()} of {len(plain)} models are not "
            "there; run uapfp evaluate first"
        )
    return there, dict(missing)


def text(found: Comparison) -> str:
    """The comparison as lines."""
    models = ", ".join(f"{n} {role}" for role, n in found.models.items())
    lines = [f"{found.preset}, seed {found.seed}: {found.images} images; {models}"]
    lines += [f"  {without(found.missing)}"] if found.missing else []
    for row in found.rows:
        rates = ", ".join(f"{role} {rate:.2f}" for role, rate in row.matching_rate.items())
        areas = ", ".join(f"{role} {area:.3f}" for role, area in row.area.items())
        lines.append(
            f"  k {row.k:g}, {row.whose}: {row.points} points, {row.moved} images have another label, "
            f"farthest pixel {row.farthest:.2f}; matching rate {rates}; AUC {areas}"
        )
    return "\n".join(lines)


def run() -> None:
    """Compare, print, write."""
    torch.set_num_threads(1)
    chosen = tyro.cli(PublicIPGuard, description=__doc__)
    report = resolve(chosen.files.runtime).report
    check_report(report)
    found = compare(chosen)
    print(text(found))
    write_report(report, found)


if __name__ == "__main__":
    main(run)
