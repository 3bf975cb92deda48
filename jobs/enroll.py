"""Enroll a victim: train what it takes to tell its copies from innocent models, and write the kit that judges suspects.

    python jobs/enroll.py --out kit                            # the digits preset's own victim, minutes on a laptop
    python jobs/enroll.py --preset fashion_mnist-small --data-root DATA --out kit
    python jobs/enroll.py --data.name imagefolder --data-root MINE --model mine.safetensors \\
        --architecture mypackage.nets:make --out kit           # make(n_classes, shape) -> module, images in [0, 1]

Publish the digest that is printed at the end before you ask anybody. Running the same command again resumes.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.presets import preset_named
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset, load
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.environment import environment
from uapfp_dist.launch.tracker import closing_run, open_tracker
from uapfp_dist.launch.workers import default_auth_mode, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import Pool, SerialPool
from uapfp_dist.tasks.specs import DataSpec
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.verification.cost import estimate
from uapfp_dist.verification.enroll_config import EnrollConfig, enroll_preset
from uapfp_dist.verification.enrollment import enroll
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_io import load_kit, save_kit
from uapfp_dist.verification.owner import OwnerModel, import_owner_model, read_index, read_owner_model
from uapfp_dist.verification.reference_models import plan_enrollment


@dataclass(frozen=True)
class Own:
    """The owner's own model; without one the preset's victim is trained."""

    model: Path | None = None
    """Its weights, a safetensors file."""
    architecture: str | None = None
    """A known name, or package.module:factory for a factory(n_classes, shape) -> module in your own code, on the import
    path of every node; its module takes images in [0, 1] and gives logits."""
    mean: tuple[float, ...] | None = None
    """Per channel, subtracted from images in [0, 1] before the model sees them."""
    std: tuple[float, ...] | None = None
    """Per channel, divided by after that."""
    trained_on: Path | None = None
    """Text file with the index of an image a line: those the model was trained on (default: half of D)."""


@dataclass(frozen=True)
class Enroll:
    """Make a verification kit."""

    preset: str = "digits"
    """Where the configuration starts from, as in full_eval.py; numbers of models follow from the options below."""
    seed: int = 0
    """Every random choice follows from it."""
    out: Path = Path("kit")
    """The kit, a new folder."""
    own: Annotated[Own, tyro.conf.arg(name="")] = field(default_factory=Own)
    wanted: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=EnrollConfig)
    surroundings: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def parse(arguments: list[str]) -> Enroll:
    """The command line; the preset gives the defaults of every field of the configuration."""
    name = preset_named(arguments)
    return tyro.cli(
        Enroll, args=arguments, default=Enroll(preset=name, config=enroll_preset(name)), description=__doc__
    )


def run(chosen: Enroll) -> Kit:
    """From the options to a kit on disk.

    Raises:
        UserError: anything wrong with the input.
    """
    torch.set_num_threads(1)
    places = resolve(chosen.surroundings)
    brought, dataset = _read(chosen, places)
    plan = plan_enrollment(chosen.config, chosen.wanted, chosen.seed, dataset, brought.victim if brought else None)
    if (chosen.out / "kit.json").is_file() and load_kit(chosen.out).info.get("enrollment") != plan.id:
        raise UserError(f"out: expected a new folder, {chosen.out} holds the kit of another enrolment; choose another")
    store, progress = Store(places.storage), Progress(workers=1)
    context = TaskContext(store, places.data_root, torch.device("cpu"))
    if brought is not None:
        progress.say(
            f"your model: accuracy {import_owner_model(brought, context, plan.victim, dataset):.3f} on images held out"
        )
    tracker = open_tracker(places)
    live = LiveTracker(tracker)
    around = workers(chosen.surroundings, places, store, plan.victim.data, progress)
    with closing_run(live.end_run), around as (pool, n_workers):
        progress.say(estimate(plan, context).summary(n_workers))
        told = (plan.id, {"seed": chosen.seed, **vars(chosen.wanted)}, _tags(chosen))
        live.start_run(*told)
        kit = enroll(plan, dataset, store, pool, progress, live)
        digest = save_kit(kit, chosen.out)
        try:
            tracker.start_run(*told)
            tracker.log_metrics(_power(kit))
            tracker.log_files(chosen.out)
        except ConnectionError as error:
            progress.say(f"{error}; the kit lies in {chosen.out}, the same command shows it in MLflow later")
    _tell(kit, digest, chosen.out)
    return kit


def _read(chosen: Enroll, places: ResolvedPaths) -> tuple[OwnerModel | None, Dataset]:
    """What can be wrong with the input is found before the data are read, or anything is trained."""
    own = chosen.own
    if (own.model is None) != (own.architecture is None):
        raise UserError("model: expected --model FILE and --architecture NAME together, got one of them; give both")
    if own.model is None and (own.mean or own.std or own.trained_on):
        raise UserError("mean, std, trained-on: expected with --model FILE, got no model; give it, or leave them out")
    read: Callable[..., OwnerModel] | None = None
    if own.model is not None and own.architecture is not None:
        read = partial(read_owner_model, own.model, own.architecture, chosen.config.zoo.width, own.mean, own.std)
        read()
    if chosen.out.is_symlink() or (chosen.out.exists() and not (chosen.out / "kit.json").is_file()):
        raise UserError(f"out: expected a new folder, {chosen.out} is there already; choose another")
    dataset = load(chosen.config.data.name, places.data_root, chosen.config.data.n_classes)
    if read is None:
        return None, dataset
    return read(read_index(own.trained_on, dataset) if own.trained_on else None), dataset


@contextmanager
def workers(
    s: RuntimeConfig, places: ResolvedPaths, store: Store, data: DataSpec, progress: Progress
) -> Iterator[tuple[Pool, int]]:
    """This process for `--workers 0`, else Ray; and about how many workers there will be."""
    if s.workers == 0:
        context = TaskContext(store, places.data_root, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        yield SerialPool(partial(perform_task, context)), 1
        return
    default_auth_mode(s.address)
    from uapfp_dist.cluster.session import session  # Ray takes seconds to import

    with session(s.address) as machine, ray_pool(machine, s, places, store, data, progress) as pool:
        yield pool, s.workers or max(machine.cpus, 1)


def _tags(chosen: Enroll) -> dict[str, str]:
    return {"preset": f"enroll-{chosen.preset}", "job": "enroll", **environment()}


def _power(kit: Kit) -> dict[str, float]:
    """Share of held-out models accused, by format and method."""
    found: dict[str, float] = {}
    for what in ("power", "false_accusations"):
        for fmt, methods in kit.info[what].items():
            for method, table in methods.items():
                found |= {f"{what}/{fmt}/{method}/{kind.replace(':', '_')}": n / of for kind, (n, of) in table.items()}
    return found


def _tell(kit: Kit, digest: str, out: Path) -> None:
    """The end of the job: what the kit can do, what it cannot, and the commitment."""
    print(f"\nheld-out models accused at alpha {kit.alpha:g}, each judged alone:")
    for fmt, decided in kit.info["decided_by"].items():
        method = decided["method"]
        tables = kit.info["power"][fmt].get(method, {}), kit.info["false_accusations"][fmt].get(method, {})
        caught, accused = (", ".join(f"{kind} {n}/{of}" for kind, (n, of) in table.items()) for table in tables)
        print(f"  {fmt}, by {method}, {kit.info['queries'][fmt]} images: stolen {caught}; innocent {accused}")
    for limit in kit.info["limits"]:
        print(f"- {limit}")
    costs = kit.info["costs"]
    print(f"{costs['models']} models, {costs['model_seconds'] / 60:.1f} minutes of training, {costs['failed']} failed")
    print(f"kit: {out}\ndigest: {digest}")
    print(f"judge a suspect: python jobs/verify.py --kit {out} --expect {digest} --at http://HOST:PORT", flush=True)


def job() -> Any:
    """Parse and run."""
    chosen = parse(sys.argv[1:])
    return run(replace(chosen, out=chosen.out.expanduser().absolute()))


if __name__ == "__main__":
    main(job)
