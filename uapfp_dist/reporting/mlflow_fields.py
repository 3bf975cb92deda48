"""What an evaluation's run and its suspects' nested runs say: lineage to filter by, scores, costs, queries."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from uapfp_dist.evaluation.judging import JudgedModels, attack_of
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.tasks.description import describe_modification
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.publication import NestedRun

SECTIONS = (
    "auc", "false_accusation", "power", "uap", "victim", "models", "stage_seconds", "workers_busy", "exhibits",
)  # fmt: skip
"""Of the report's JSON: those whose numbers become metrics."""
SCORES = ("similarity", "similarity_std", "score", "p_value", "p_value_t_test", "weighted_errors", "weighted_errors_p")


def model_places(plan: Plan) -> dict[str, dict[str, Any]]:
    """Model id to its number in the plan (from 1), its role (empty: only others are made from it) and its stage."""
    roles = {member.spec.id: member.role for member in plan.members}
    models = {spec.id: spec for spec in plan.specs if isinstance(spec, ModelSpec)}
    return {
        model: {"number": i, "role": roles.get(model, ""), "stage": spec.stage}
        for i, (model, spec) in enumerate(models.items(), start=1)
    }


def mlflow_params(plan: Plan) -> dict[str, Any]:
    """The configuration as it comes back from JSON: a stored one must read like a fresh one."""
    found: dict[str, Any] = json.loads(json.dumps(wire_form(plan.config) | {"seed": plan.seed}))
    return found


def mlflow_tags(plan: Plan, settings: Mapping[str, str]) -> dict[str, str]:
    """Environment and lineage of the whole evaluation."""
    victim = plan.members[0].spec
    lineage = {"data": plan.data.name, "victim": victim.id, "victim_architecture": victim.architecture}
    return {key: value for key, value in {**settings, **lineage, "seed": str(plan.seed)}.items() if value}


def mlflow_metrics(
    body: Mapping[str, Any], cards: Sequence[Mapping[str, Any]], busy: Mapping[str, float], judge: float
) -> dict[str, float]:
    """Numbers of the whole evaluation: scores, costs, queries.

    Args:
        body: the report's JSON.
        cards: of all models, the victim's first; what was made in an earlier run counts too.
        busy: stage to seconds, of stages that make no models; taken to run on the device that the victim was made on.
        judge: CPU seconds of the arbiter.
    """
    costs = {"cpu_seconds/judge": judge}
    for card in cards:
        name = f"{unit(card)}/{card['stage']}"
        costs[name] = costs.get(name, 0.0) + float(card["seconds"])
    costs |= {f"{unit(cards[0])}/{stage}": seconds for stage, seconds in busy.items()}
    queries = {
        "queries/to_victims": float(sum(card["queries"] for card in cards)),
        "queries/per_suspect": float(body["unique_queries_per_suspect"]),
    }
    return {**flatten(body, SECTIONS), **costs, **queries}


def unit(card: Mapping[str, Any]) -> str:
    """What a second of its making is: of a worker's share of a GPU, or of one CPU core."""
    return "gpu_seconds" if str(card["device"]).startswith("cuda") else "cpu_seconds"


def suspect_runs(
    panelists: JudgedModels, draw: Resample, body: Mapping[str, Any], cards: Mapping[str, Mapping[str, Any]]
) -> list[NestedRun]:
    """Every judged model but the victim, in the order of the panel."""
    parts = dict.fromkeys(draw.test, "test")
    parts |= dict.fromkeys((*draw.calibration, *draw.calibration_piracy), "calibration")
    verdicts = {verdict["model"]: verdict for verdict in body["verdicts"]}
    return [
        suspect_run(member, parts.get(row, "training"), verdicts.get(member.spec.id), cards[member.spec.id])
        for row, member in enumerate(panelists.members[1:], start=1)
    ]


def suspect_run(member: Member, part: str, verdict: Mapping[str, Any] | None, card: Mapping[str, Any]) -> NestedRun:
    """Lineage and verdict as tags, numbers as metrics: what one wants to filter by."""
    spec = member.spec
    tags = {
        "role": member.role,
        "part": part,
        "model": spec.id,
        "victim": member.stolen_from,
        "base": spec.root.id if spec.modifications else "",
        "origin": card["origin"],
        "attack": attack_of(member),
        "labels": spec.extraction.labels.extraction_wire if spec.extraction else "",
        "modification": " + ".join(describe_modification(change) for change in spec.modifications),
        "architecture": spec.architecture,
        "optimizer": spec.recipe.optimizer,
        "batch_size": str(spec.recipe.batch_size),
        "seed": str(spec.seed),
        "device": card["device"],
        "claim": verdict["claim"] if verdict else "",
        "weighted_errors_claim": verdict["weighted_errors_claim"] if verdict else "",
    }
    metrics = {"accuracy": card["accuracy"], unit(card): card["seconds"], "queries_to_victim": card["queries"]}
    if verdict is not None:
        metrics |= {name: verdict[name] for name in SCORES} | {"queries": verdict["queries"]}
    name = f"{member.role}-{spec.architecture}-{spec.id[:6]}"
    filled = {key: value for key, value in tags.items() if value}
    return NestedRun(name, filled, {key: float(value) for key, value in metrics.items() if value is not None})


def flatten(body: Mapping[str, Any], keys: Sequence[str]) -> dict[str, float]:
    """Numbers under `keys` as metric names with slashes."""
    found: dict[str, float] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{prefix}/{str(key).replace('@', '_at_')}", item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix] = float(value)

    for key in keys:
        walk(key, body.get(key))
    return found
