"""What an evaluation's run and its suspects' nested runs say: the answer, lineage to filter by, scores, costs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uapfp_dist.evaluation.judging import CHOSEN, NEGATIVE_GROUPS, JudgedModels, attack_of
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.sections.answer import ANSWER
from uapfp_dist.serialization import Json, to_json
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.members import Member
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.publication import NestedRun

WITH_METRICS = (
    "auc", "false_accusation", "power", "uap", "victim", "models", "stage_seconds", "workers_busy", "exhibits",
)  # fmt: skip
"""Keys of the report's JSON whose numbers are listed beside costs and queries."""
HEADLINES = (
    "power/conformal", "victim/accuracy", "uap/fooling_rate", "uap/xi", "queries/per_suspect", "queries/to_victims",
    "models/trained", "models/reused", "models/failed", "workers_busy",
)  # fmt: skip
"""Of all numbers, those that are metrics under the same names."""
STATES = ("done", "reused", "failed", "total")
"""Of the tasks of a stage."""
OF_VERDICT = (
    "similarity",
    "similarity_std",
    "score",
    "p_value",
    "p_value_t_test",
    "weighted_errors",
    "weighted_errors_p",
    "queries",
)


@dataclass(frozen=True)
class ModelPlace:
    """A model's place in the plan."""

    number: int
    """From 1."""
    role: str
    """Empty: only others are made from it."""
    stage: str


def model_places(plan: Plan) -> dict[str, ModelPlace]:
    """Model id to place, in the order of the plan."""
    roles = {member.spec.id: member.role for member in plan.members}
    models = {spec.id: spec for spec in plan.specs if isinstance(spec, ModelSpec)}
    return {
        model: ModelPlace(number, roles.get(model, ""), spec.stage)
        for number, (model, spec) in enumerate(models.items(), start=1)
    }


@dataclass(frozen=True)
class PlannedModel:
    """A model that was made, and its place in the plan."""

    card: ModelCard
    place: ModelPlace

    def to_json(self) -> dict[str, Any]:
        """For trackers."""
        return {**self.card.to_json(), **vars(self.place)}


def mlflow_params(plan: Plan) -> dict[str, Json]:
    """The configuration as it comes back from JSON: a stored one must read like a fresh one."""
    return dict(json.loads(json.dumps(wire_form(plan.config) | {"seed": plan.seed})))


def mlflow_tags(plan: Plan, settings: Mapping[str, str]) -> dict[str, str]:
    """Environment and lineage of the whole evaluation."""
    victim = plan.members[0].spec
    lineage = {"data": plan.data.name, "victim": victim.id, "victim_architecture": victim.architecture}
    tags = {"job": "evaluate", **settings, **lineage, "seed": str(plan.seed)}
    return {key: value for key, value in tags.items() if value}


def mlflow_metrics(report: EvaluationReport, numbers: Mapping[str, float]) -> dict[str, float]:
    """What tells evaluations apart, few enough to be read; all the rest is in `numbers`.

    AUC and accusations are those of the method that decides; beside them stands the AUC of `uap`, whatever decides.
    """
    found = {f"auc/{group}": _at(numbers, f"auc/{report.decided_by}/{CHOSEN}/{group}") for group in NEGATIVE_GROUPS}
    for kind in (f"auc/uap/{CHOSEN}", "false_accusation/conformal"):
        found |= {f"{kind}/{group}": _at(numbers, f"{kind}/{group}") for group in NEGATIVE_GROUPS}
    found |= {name: _at(numbers, name) for name in HEADLINES}
    for seconds in ("cpu_seconds", "gpu_seconds"):
        spent = [value for name, value in numbers.items() if name.startswith(f"{seconds}/")]
        found[seconds] = sum(spent) if spent else math.nan
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _at(numbers: Mapping[str, float], name: str) -> float:
    return numbers.get(name, math.nan)


def all_numbers(
    report: EvaluationReport, models: Sequence[PlannedModel], busy: Mapping[str, float], judge: float
) -> dict[str, float]:
    """Every number of the whole evaluation: scores, costs, queries.

    Args:
        report: with its sections.
        models: the victim first; what was made in an earlier run counts too.
        busy: stage to seconds, of stages that make no models; taken to run on the device that the victim was made on.
        judge: CPU seconds of the evaluator.
    """
    costs = {"cpu_seconds/judge": judge}
    for model in models:
        name = f"{unit(model.card)}/{model.place.stage}"
        costs[name] = costs.get(name, 0.0) + model.card.seconds
    costs |= {f"{unit(models[0].card)}/{stage}": seconds for stage, seconds in busy.items()}
    queries = {
        "queries/to_victims": float(sum(model.card.queries for model in models)),
        "queries/per_suspect": float(report.queries_per_suspect),
    }
    plain = to_json(report)
    return {**flatten({key: plain.get(key) for key in WITH_METRICS}), **costs, **queries}


def progress_metrics(numbers: Mapping[str, float]) -> dict[str, float]:
    """Two curves of the work, as `Progress.numbers` counts it: the share of tasks settled before the judging, and tasks
    in work."""
    tasks = {name: value for name, value in numbers.items() if not name.startswith("judge_")}
    settled, total = (
        sum(value for name, value in tasks.items() if name.endswith(tuple(f"_{state}" for state in states)))
        for states in (STATES[:3], STATES[3:])
    )
    return {"progress/done": settled / max(total, 1.0), "progress/in_work": numbers.get("in_work", 0.0)}


def progress_note(numbers: Mapping[str, float], seconds: int) -> str:
    """The state of the work in Markdown: the workers, then a row per stage."""
    stages = [name.removesuffix("_total") for name in numbers if name.endswith("_total")]
    busy = f", {numbers['utilisation']:.0%} used" if "utilisation" in numbers else ""
    lines = [
        f"**In progress**, {seconds // 60} min {seconds % 60} s after the start: {numbers.get('in_work', 0):.0f} tasks "
        f"in work on {numbers.get('workers', 0):.0f} workers{busy}; {numbers.get('waiting', 0):.0f} wait.",
        "",
        " | ".join(["stage", *STATES]),
        " | ".join(["---"] * (1 + len(STATES))),
        *(" | ".join([stage, *(f"{numbers[f'{stage}_{state}']:.0f}" for state in STATES)]) for stage in stages),
    ]
    return "\n".join(lines) + "\n"


def answer_tag(report: EvaluationReport) -> str:
    """The answer without its question, for a list of runs."""
    return answer(report).findings[0].finding.partition("? ")[2][:500]


def mlflow_description(report: EvaluationReport) -> str:
    """The answer, its picture, and where the rest is."""
    return (
        f"{answer(report).markdown()}\n![{ANSWER}](artifact:figures/{ANSWER}.png)\n\n"
        "The whole report on one page: [report.html](artifact:report.html). Every number: "
        "[numbers.json](artifact:numbers.json), [report.json](artifact:report.json). One file each: `tables/`, "
        "`figures/`. Every judged model is a nested run.\n"
    )


def unit(card: ModelCard) -> str:
    """What a second of its making is: of a worker's share of a GPU, or of one CPU core."""
    return "gpu_seconds" if card.device.startswith("cuda") else "cpu_seconds"


def suspect_runs(
    judged: JudgedModels, resample: Resample, report: EvaluationReport, cards: Mapping[str, ModelCard]
) -> list[NestedRun]:
    """Every judged model but the victim, in the order of the matrix."""
    parts = dict.fromkeys(resample.test, "test")
    parts |= dict.fromkeys((*resample.calibration, *resample.calibration_piracy), "calibration")
    verdicts = {verdict.model: verdict for verdict in report.verdicts}
    return [
        suspect_run(member, parts.get(row, "training"), verdicts.get(member.spec.id), cards[member.spec.id])
        for row, member in enumerate(judged.members[1:], start=1)
    ]


def suspect_run(member: Member, part: str, verdict: Verdict | None, card: ModelCard) -> NestedRun:
    """Lineage and verdict as tags, numbers as metrics: what one wants to filter by."""
    spec = member.spec
    tags = {
        "role": member.role,
        "part": part,
        "model": spec.id,
        "victim": member.stolen_from,
        "base": spec.root.id if spec.modifications else "",
        "origin": card.origin,
        "attack": attack_of(member),
        "labels": spec.extraction.labels_name if spec.extraction else "",
        "modification": " + ".join(modification.description for modification in spec.modifications),
        "architecture": spec.architecture,
        "optimizer": spec.recipe.optimizer,
        "batch_size": str(spec.recipe.batch_size),
        "seed": str(spec.seed),
        "device": card.device,
        "claim": verdict.claim if verdict else "",
        "weighted_errors_claim": verdict.weighted_errors_claim if verdict else "",
    }
    metrics = {"accuracy": card.accuracy, unit(card): card.seconds, "queries_to_victim": card.queries}
    if verdict is not None:
        metrics |= {name: getattr(verdict, name) for name in OF_VERDICT}
    name = f"{member.role}-{spec.architecture}-{spec.id[:6]}"
    filled = {key: value for key, value in tags.items() if value}
    return NestedRun(name, filled, {key: float(value) for key, value in metrics.items() if not math.isnan(value)})


def flatten(value: object, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON object under metric names with slashes; lists are passed over."""
    if isinstance(value, Mapping):
        found: dict[str, float] = {}
        for key, item in value.items():
            name = str(key).replace("@", "_at_") if prefix else str(key)
            found |= flatten(item, f"{prefix}/{name}" if prefix else name)
        return found
    return {prefix: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}
