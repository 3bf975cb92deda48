"""Build a kit from stored models, probe and responses."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses, uaps_json
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, BlockKey
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import n_query_images
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import Imported
from uapfp_dist.verification.enroll_config import configuration
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_images import _Images
from uapfp_dist.verification.kit_io import with_digest
from uapfp_dist.verification.learning import PIRACY, FittedScorer, TrainingRows, learn_errors, learn_uap
from uapfp_dist.verification.power import measured
from uapfp_dist.verification.reference_models import EnrollmentPlan, ReferenceModel
from uapfp_dist.verification.scoring import encoder_of, score
from uapfp_dist.verification.verdict import GROUPS, METHODS


def make_kit(plan: EnrollmentPlan, dataset: Dataset, store: Store, failures: Sequence[str] = ()) -> Kit:
    """The kit of a plan whose artifacts lie in the store. The same artifacts give the same kit, bit for bit.

    Raises:
        UserError: too few models.
    """
    made = [s for s in plan.reference_models if store.intact("answers", plan.response(s).id)]
    if not store.intact("answers", plan.victim_response.id):
        raise UserError(f"enroll: expected a victim and its probe, they could not be made ({_causes(failures)})")
    rows = _in_parts(plan, made, failures)
    probe = read_probe(store.get("probe", plan.probe.id))
    members = [Member(Role.VICTIM, plan.victim), *(row.supporter.member for row in rows)]
    specs = [plan.victim_response, *(plan.response(row.supporter) for row in rows)]
    answers = [read_responses(store.get("answers", spec.id)) for spec in specs]
    panel = ResponseMatrix.from_responses(members, answers, probe, plan.probe, plan.requirements.formats)
    images, kit = _scorers(plan, panel, probe, rows)
    info = kit.info | {
        "alpha": plan.requirements.alpha,
        "max_suspects": plan.requirements.max_suspects,
        "models": [row.to_json() for row in rows if row.part != "training"],
        "training": dict(Counter(row.supporter.group for row in rows if row.part == "training")),
        "uap": uaps_json(probe.summary),
        "data": {"name": dataset.name, "digest": dataset.digest, "note": dataset.note},
        "victim": _about_victim(plan, store),
        "costs": _costs(plan, store, len(failures)),
        "configuration": configuration(plan.config, plan.requirements),
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

    supporter: ReferenceModel
    part: str
    """`training`, `calibration` or `test`."""

    def to_json(self) -> dict[str, str]:
        """What the kit says of it."""
        stolen = self.supporter.extraction
        attack, labels = (stolen.attack, stolen.labels.extraction_wire) if stolen else ("", "")
        spec = self.supporter.member.spec
        about = {"architecture": spec.architecture, "optimizer": spec.recipe.optimizer, "model": spec.id}
        return {"group": self.supporter.group, "part": self.part, "attack": attack, "labels": labels, **about}


def _in_parts(plan: EnrollmentPlan, made: Sequence[ReferenceModel], failures: Sequence[str]) -> list[_Row]:
    """Of each group's models held out, the first so many calibrate and the others test; stolen ones only test."""
    found, seen = [], Counter[str]()
    for supporter in made:
        part = "training"
        if supporter.part == "held_out":
            seen[supporter.group] += 1
            spare = supporter.group == PIRACY or seen[supporter.group] > plan.requirements.n_calibrate
            part = "test" if spare else "calibration"
        found.append(_Row(supporter, part))
    for group in plan.requirements.groups:
        if seen[group] < plan.requirements.n_calibrate:
            raise UserError(
                f"enroll: expected {plan.requirements.n_calibrate} {group} models to calibrate with, {seen[group]} "
                f"could be made ({_causes(failures)}); raise --n-test, which holds the spare ones, or a margin of the "
                "gate"
            )
    for group in (PIRACY, *plan.requirements.groups):
        if sum(row.supporter.group == group and row.part == "training" for row in found) < 2:
            raise UserError(
                f"enroll: expected two {group} models to learn from, too few were made ({_causes(failures)})"
            )
    return found


def _causes(failures: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(failures))[:300] or "no cause is known"


def _scorers(plan: EnrollmentPlan, panel: ResponseMatrix, probe: Probe, rows: Sequence[_Row]) -> tuple[_Images, Kit]:
    """A kit with images, victim and scorers; its `info` tells how those came about. No other models yet."""
    training: dict[str, list[int]] = {}
    for i, row in enumerate(rows, start=1):
        if row.part == "training":
            training.setdefault(row.supporter.group, []).append(i)
    trainers = TrainingRows(training)
    by_errors, weights = learn_errors(panel, trainers, plan.requirements.n_errors)
    formats = plan.requirements.formats
    uap = {fmt: learn_uap(panel, trainers, fmt, plan.config.encoder, plan.probe.id) for fmt in formats}
    blocks = sorted({learnt.block for learnt, _ in uap.values() if learnt.block}, key=str)
    asked = {key: torch.arange(n_query_images(probe, key, "test")) for key in (CLEAN, *blocks)}
    images = _Images.of(probe, asked | {NATURAL: weights.index})
    n = panel.n_test_views

    def views(block: BlockKey | None) -> Tensor:
        assert block is not None
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
            "decided_by": {fmt.wire: _decided(learnt, by_errors) for fmt, (learnt, _) in uap.items()},
            "natural_errors": int((weights.index < probe.summary.natural_errors).sum()),
        },
        victim=victim,
        natural=images.places[NATURAL],
        log_odds_agree=weights.log_odds_agree,
        log_odds_disagree=weights.log_odds_disagree,
        agrees=torch.zeros(0, len(weights.index), dtype=torch.bool),
        views={fmt: views(learnt.block) for fmt, (learnt, _) in uap.items()},
        encoders={fmt: encoder_of(stack) for fmt, (_, stack) in uap.items()},
    )


def _decided(uap: FittedScorer, errors: FittedScorer) -> dict[str, Any]:
    """The method that tells training models apart better when they are left out; the uap where they tie."""
    found = {"uap": uap, "weighted_errors": errors}
    shares = ", ".join(f"{name} ({_in_words(learnt)}) {learnt.separation.caught:.0%}" for name, learnt in found.items())
    return {
        "method": max(found, key=lambda name: found[name].separation),
        "why": "of the stolen training models, each left out when it was judged, it put more above every innocent one "
        f"({shares}; where they tie, the larger AUC, then the wider gap)",
        "training": {name: dataclasses.asdict(learnt.separation) for name, learnt in found.items()},
        "ways": {name: learnt.variant for name, learnt in found.items()},
    }


def _in_words(learnt: FittedScorer) -> str:
    """What cross-validation chose inside a method."""
    if learnt.block is not None:
        return f"perturbations of {learnt.block.radius:g} times the paper's norm"
    return f"weighed by {learnt.variant.replace('_', ' ')}"


def _with_models(kit: Kit, images: _Images, panel: ResponseMatrix, rows: Sequence[_Row]) -> Kit:
    """The kit with the scores of all models that do not train, by the very arithmetic that suspects meet."""
    held_out = [images.gather(panel.answers[i]) for i, row in enumerate(rows, start=1) if row.part != "training"]
    scored = {fmt: [score(kit, fmt, probabilities) for probabilities in held_out] for fmt in kit.views}
    return dataclasses.replace(
        kit,
        agrees=torch.stack([one.agrees for one in scored[LABEL]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scored.items()},
    )


def _measured(kit: Kit) -> dict[str, Any]:
    """Power and false accusations on models that neither trained nor calibrated, and the queries it takes."""
    by_format = measured(kit)
    found: dict[str, Any] = {
        what: {fmt.wire: {method: found[method][what] for method in METHODS} for fmt, found in by_format.items()}
        for what in ("power", "false_accusations")
    }
    return found | {"queries": {fmt.wire: found["queries"] for fmt, found in by_format.items()}}


def _about_victim(plan: EnrollmentPlan, store: Store) -> dict[str, Any]:
    """What her card says that a kit may tell."""
    card = store.get("model", plan.victim.id).info
    imported = isinstance(plan.victim.origin, Imported)
    return {"architecture": plan.victim.architecture, "imported": imported, "accuracy": card["accuracy"]}


def _costs(plan: EnrollmentPlan, store: Store, n_failed: int) -> dict[str, Any]:
    """Models and the seconds of training them, wherever and whenever that was."""
    cards = [store.get("model", spec.id).info for spec in plan.models if store.has("model", spec.id)]
    return {"models": len(cards), "failed": n_failed, "model_seconds": round(sum(card["seconds"] for card in cards), 1)}


def _limits(plan: EnrollmentPlan, kit: Kit) -> list[str]:
    """What the kit does not cover, in plain sentences."""
    wanted = plan.requirements
    labels = ", ".join(fmt.extraction_wire for fmt in wanted.labels)
    said = [
        f"Stolen models were made by {', '.join(wanted.attacks)} with {labels} labels: "
        "other attacks, and models changed after the theft, may escape.",
        f"Architectures seen: {', '.join(sorted({s.member.spec.architecture for s in plan.reference_models}))}.",
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
