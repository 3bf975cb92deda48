"""Enroll a victim: train its supporters, ask them, learn the scorers, and put all that judging needs into a kit."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.config import Config
from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.evaluate import stored_in
from uapfp_dist.pipeline.publish import Live
from uapfp_dist.pipeline.schedule import execute
from uapfp_dist.pipeline.steps import perform
from uapfp_dist.pipeline.workbench import Workbench, read_answers, read_probe
from uapfp_dist.progress import Progress
from uapfp_dist.runtime import NullTracker, Pool, SerialPool
from uapfp_dist.science.data import Dataset, load
from uapfp_dist.science.fingerprint.panel import Panel
from uapfp_dist.science.fingerprint.probe import CLEAN, NATURAL, n_images, sent, to_8_bits
from uapfp_dist.specs import Format, Imported, ModelSpec
from uapfp_dist.store import Store
from uapfp_dist.types import Answers, Failed, Member, Probe
from uapfp_dist.verification.judge import GROUPS, METHODS
from uapfp_dist.verification.kit import Kit, with_digest
from uapfp_dist.verification.learning import PIRACY, Learnt, Trainers, learn_errors, learn_uap
from uapfp_dist.verification.owner import Brought, take_in
from uapfp_dist.verification.power import measured
from uapfp_dist.verification.scoring import encoder_of, score
from uapfp_dist.verification.supporters import (
    EnrollConfig,
    Enrollment,
    Supporter,
    configuration,
    enroll_preset,
    make_enrollment,
)


def enroll_here(
    config: Config | str = "digits",
    wanted: EnrollConfig | None = None,
    seed: int = 0,
    *,
    store: Path | str = "results",
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    own: Brought | None = None,
    progress: Progress | None = None,
) -> Kit:
    """Enroll in this process, one model after the other, without Ray and MLflow; calling again resumes.

    Args:
        config: a preset by name, or a configuration.
        wanted: what the kit must decide (default: EnrollConfig()).
        seed: every random choice follows from it.
        store: folder or fsspec URL of artifacts.
        data_root: where the images that `config` names lie; not needed for digits.
        dataset: images at hand, in the place of those.
        own: the owner's model, from `read_owner` or `owner_of`; None trains the victim of `config`.
        progress: tells a person how things stand (default: on standard error).

    Raises:
        UserError: anything wrong with the input; too few models could be made.
    """
    config = enroll_preset(config) if isinstance(config, str) else config
    dataset = dataset or load(config.data.name, data_root, config.data.n_classes)
    plan = make_enrollment(config, wanted or EnrollConfig(), seed, dataset, own.victim if own else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Workbench(Store(str(store)), data_root, device, dataset)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of a parallel sum must not change a kit
    try:
        if own is not None:
            take_in(own, bench, plan.victim, dataset)
        return enroll(plan, dataset, bench.store, SerialPool(partial(perform, bench)), progress or Progress(workers=1))
    finally:
        torch.set_num_threads(threads)


def enroll(
    plan: Enrollment, dataset: Dataset, store: Store, pool: Pool, progress: Progress, tracker: Live | None = None
) -> Kit:
    """Make every model of `plan`, ask it, and put the kit together; what is in the store is not done again.

    Args:
        plan: what is made.
        dataset: its images, for the names of the classes.
        store: artifacts; an imported victim's lies there already.
        pool: where specs are performed; closed when the last one is done.
        progress: tells a person how things stand.
        tracker: hears of every trained model.

    Raises:
        UserError: too few models could be made; the causes are named.
    """
    tracker = tracker or Live(NullTracker())
    progress.expect(plan.specs)
    progress.watch(pool)
    failures: list[str] = []
    for outcome in execute(plan.specs, pool, stored_in(store, plan.specs), progress.tick):
        progress.observe(outcome)
        if isinstance(outcome, Failed):
            failures += [] if outcome.lost else [outcome.error]
        elif isinstance(outcome.spec, ModelSpec):
            tracker.card(store.get("model", outcome.spec.id).info)
    pool.close()
    progress.say("learning the scorers")
    return make_kit(plan, dataset, store, failures)


def make_kit(plan: Enrollment, dataset: Dataset, store: Store, failures: Sequence[str] = ()) -> Kit:
    """The kit of a plan whose artifacts lie in the store. The same artifacts give the same kit, bit for bit.

    Raises:
        UserError: too few models.
    """
    made = [s for s in plan.supporters if store.intact("answers", plan.answer(s).id)]
    if not store.intact("answers", plan.victim_answer.id):
        raise UserError(f"enroll: expected a victim and its probe, they could not be made ({_causes(failures)})")
    rows = _in_parts(plan, made, failures)
    probe = read_probe(store.get("probe", plan.probe.id))
    members = [Member("victim", plan.victim), *(row.supporter.member for row in rows)]
    specs = [plan.victim_answer, *(plan.answer(row.supporter) for row in rows)]
    answers = [read_answers(store.get("answers", spec.id)) for spec in specs]
    panel = Panel.of(members, answers, probe, plan.probe, plan.wanted.formats)
    images, kit = _scorers(plan, panel, probe, rows)
    info = kit.info | {
        "alpha": plan.wanted.alpha,
        "max_suspects": plan.wanted.max_suspects,
        "models": [row.to_json() for row in rows if row.part != "training"],
        "training": dict(Counter(row.supporter.group for row in rows if row.part == "training")),
        "uap": probe.info["uaps"],
        "data": {"name": dataset.name, "digest": dataset.digest, "note": dataset.note},
        "victim": _about_victim(plan, store),
        "costs": _costs(plan, store, len(failures)),
        "configuration": configuration(plan.config, plan.wanted),
        "seed": plan.seed,
        "enrollment": plan.id,
        "torch": torch.__version__,
        "limits": _limits(plan, kit),
    }
    kit = _with_models(dataclasses.replace(kit, info=info, class_names=dataset.class_names), images, panel, rows)
    return with_digest(dataclasses.replace(kit, info=info | _measured(kit)))


@dataclass(frozen=True)
class _Row:
    """A model beside the victim, and what it is for."""

    supporter: Supporter
    part: str
    """`training`, `calibration` or `test`."""

    def to_json(self) -> dict[str, str]:
        """What the kit says of it."""
        attack, labels = self.supporter.way
        spec = self.supporter.member.spec
        about = {"architecture": spec.architecture, "optimizer": spec.recipe.optimizer, "model": spec.id}
        return {"group": self.supporter.group, "part": self.part, "attack": attack, "labels": labels, **about}


def _in_parts(plan: Enrollment, made: Sequence[Supporter], failures: Sequence[str]) -> list[_Row]:
    """Of each group's models held out, the first so many calibrate and the others test; stolen ones only test."""
    found, seen = [], Counter[str]()
    for supporter in made:
        part = "training"
        if supporter.part == "held_out":
            seen[supporter.group] += 1
            spare = supporter.group == PIRACY or seen[supporter.group] > plan.wanted.n_calibrate
            part = "test" if spare else "calibration"
        found.append(_Row(supporter, part))
    for group in plan.wanted.groups:
        if seen[group] < plan.wanted.n_calibrate:
            raise UserError(
                f"enroll: expected {plan.wanted.n_calibrate} {group} models to calibrate with, {seen[group]} could be "
                f"made ({_causes(failures)}); raise --n-test, which holds the spare ones, or a margin of the gate"
            )
    for group in (PIRACY, *plan.wanted.groups):
        if sum(row.supporter.group == group and row.part == "training" for row in found) < 2:
            raise UserError(
                f"enroll: expected two {group} models to learn from, too few were made ({_causes(failures)})"
            )
    return found


def _causes(failures: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(failures))[:300] or "no cause is known"


@dataclass(frozen=True)
class _Images:
    """Parts of a probe's blocks as one list of images without repetition."""

    images: Tensor
    """(Q, c, h, w) uint8."""
    index: dict[str, Tensor]
    """Block to (S,) int64: the images of it that are sent."""
    places: dict[str, Tensor]
    """Block to (S,) int64: where each of those lies."""
    new: dict[str, Tensor]
    """Block to (S,) bool: it stands there for the first time."""

    @staticmethod
    def of(probe: Probe, index: dict[str, Tensor]) -> "_Images":
        """The images at `index` of each block."""
        known: dict[bytes, int] = {}
        places, first, found = {}, {}, []
        for name, rows in index.items():
            images = to_8_bits(sent(probe, name, slice(int(rows.max()) + 1)))[rows]
            keys = [image.numpy().tobytes() for image in images]
            before = len(known)
            places[name] = torch.tensor([known.setdefault(key, len(known)) for key in keys])
            first[name] = torch.zeros(len(keys), dtype=torch.bool)
            for i, place in enumerate(places[name].tolist()):
                first[name][i] = place == before
                before += place == before
            found.append(images[first[name]])
        return _Images(torch.cat(found), index, places, first)

    def gather(self, answers: Answers) -> Tensor:
        """(Q, C) one model's probabilities on these images."""
        return torch.cat([answers.blocks[name][rows][self.new[name]] for name, rows in self.index.items()])


def _scorers(plan: Enrollment, panel: Panel, probe: Probe, rows: Sequence[_Row]) -> tuple[_Images, Kit]:
    """A kit with images, victim and scorers; its `info` tells how those came about. No other models yet."""
    training: dict[str, list[int]] = {}
    for i, row in enumerate(rows, start=1):
        if row.part == "training":
            training.setdefault(row.supporter.group, []).append(i)
    trainers = Trainers(training)
    by_errors, weights = learn_errors(panel, trainers, plan.wanted.n_errors)
    formats: tuple[Format, ...] = plan.wanted.formats
    uap = {fmt: learn_uap(panel, trainers, fmt, plan.config.encoder, plan.probe.id) for fmt in formats}
    blocks = sorted({learnt.way for learnt, _ in uap.values()})
    asked = {name: torch.arange(n_images(probe, name, "test")) for name in (CLEAN, *blocks)}
    images = _Images.of(probe, asked | {NATURAL: weights.index})
    n = panel.n_test_views

    def views(block: str) -> Tensor:
        return torch.stack([images.places[CLEAN][panel.views[:n]], images.places[block][panel.gather[block][:n]]])

    victim = images.gather(panel.answers[0])
    return images, Kit(
        digest="",
        images=images.images,
        n_classes=victim.shape[1],
        class_names=(),
        victim_labels=victim.argmax(1),
        clean=images.places[CLEAN].unique(),
        info={
            "decided_by": {fmt: _decided(learnt, by_errors) for fmt, (learnt, _) in uap.items()},
            "natural_errors": int((weights.index < probe.info["natural_errors"]).sum()),
        },
        victim=victim,
        natural=images.places[NATURAL],
        gain=weights.gain,
        loss=weights.loss,
        agrees=torch.zeros(0, len(weights.index), dtype=torch.bool),
        views={fmt: views(learnt.way) for fmt, (learnt, _) in uap.items()},
        encoders={fmt: encoder_of(stack) for fmt, (_, stack) in uap.items()},
    )


def _decided(uap: Learnt, errors: Learnt) -> dict[str, Any]:
    """The method that tells training models apart better when they are left out; the uap where they tie."""
    found = {"uap": uap, "weighted_errors": errors}
    shares = ", ".join(f"{name} ({_in_words(learnt)}) {learnt.separation.caught:.0%}" for name, learnt in found.items())
    return {
        "method": max(found, key=lambda name: found[name].separation),
        "why": "of the stolen training models, each left out when it was judged, it put more above every innocent one "
        f"({shares}; where they tie, the larger AUC, then the wider gap)",
        "training": {name: dataclasses.asdict(learnt.separation) for name, learnt in found.items()},
        "ways": {name: learnt.way for name, learnt in found.items()},
    }


def _in_words(learnt: Learnt) -> str:
    """What cross-validation chose inside a method."""
    name, _, fraction = learnt.way.partition("@")
    return f"perturbations of {fraction} times the paper's norm" if fraction else f"weighed by {name.replace('_', ' ')}"


def _with_models(kit: Kit, images: _Images, panel: Panel, rows: Sequence[_Row]) -> Kit:
    """The kit with the scores of all models that do not train, by the very arithmetic that suspects meet."""
    held_out = [images.gather(panel.answers[i]) for i, row in enumerate(rows, start=1) if row.part != "training"]
    scored = {fmt: [score(kit, fmt, probabilities) for probabilities in held_out] for fmt in kit.views}
    return dataclasses.replace(
        kit,
        agrees=torch.stack([one.agrees for one in scored["hard"]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scored.items()},
    )


def _measured(kit: Kit) -> dict[str, Any]:
    """Power and false accusations on models that neither trained nor calibrated, and the queries it takes."""
    by_format = measured(kit)
    found: dict[str, Any] = {
        what: {fmt: {method: found[method][what] for method in METHODS} for fmt, found in by_format.items()}
        for what in ("power", "false_accusations")
    }
    return found | {"queries": {fmt: found["queries"] for fmt, found in by_format.items()}}


def _about_victim(plan: Enrollment, store: Store) -> dict[str, Any]:
    """What her card says that a kit may tell."""
    card = store.get("model", plan.victim.id).info
    imported = isinstance(plan.victim.origin, Imported)
    return {"architecture": plan.victim.architecture, "imported": imported, "accuracy": card["accuracy"]}


def _costs(plan: Enrollment, store: Store, n_failed: int) -> dict[str, Any]:
    """Models and the seconds of training them, wherever and whenever that was."""
    cards = [store.get("model", spec.id).info for spec in plan.models if store.has("model", spec.id)]
    return {"models": len(cards), "failed": n_failed, "model_seconds": round(sum(card["seconds"] for card in cards), 1)}


def _limits(plan: Enrollment, kit: Kit) -> list[str]:
    """What the kit does not cover, in plain sentences."""
    wanted = plan.wanted
    said = [
        f"Stolen models were made by {', '.join(wanted.attacks)} with {', '.join(wanted.labels)} labels: "
        "other attacks, and models changed after the theft, may escape.",
        f"Architectures seen: {', '.join(sorted({s.member.spec.architecture for s in plan.supporters}))}.",
    ]
    if missing := [group for group in GROUPS if group not in wanted.groups]:
        said.append(f"Innocents left out at enrolment: {', '.join(missing)}.")
    if isinstance(plan.victim.origin, Imported) and plan.victim.data.victim_set is None:
        said.append("The owner did not name her training images: half of the data were taken for them.")
    n, of = kit.info["natural_errors"], len(kit.natural)
    if n < of:
        said.append(
            f"Of the {of} images of weighted_errors {n} are errors of the victim, the others its lowest margins."
        )
    return said
