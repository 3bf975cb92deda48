"""The arbiter: hears of every outcome, fits every method's scorer, judges, and alone writes to the tracker."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.exhibits import EXHIBITS, Evidence, Exhibit, make_exhibits
from uapfp_dist.pipeline.judging import Panelists, attack_of
from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.pipeline.report import Report, clean, make_report
from uapfp_dist.pipeline.showing import write_files
from uapfp_dist.pipeline.workbench import read_answers, read_probe
from uapfp_dist.runtime import Tracker
from uapfp_dist.science.fingerprint.draws import Draw, make_draw
from uapfp_dist.science.fingerprint.methods import Candidate
from uapfp_dist.science.fingerprint.panel import Panel
from uapfp_dist.science.modification import about
from uapfp_dist.science.scoring import Scored, ScoredDraw, score_draw
from uapfp_dist.specs import ModelSpec, content_id
from uapfp_dist.store import Artifact, Store
from uapfp_dist.types import Failed, Member, Outcome, Probe


class Arbiter:
    """One evaluation's judge.

    Args:
        plan: what is evaluated.
        store: where answers are read and scores are kept, so that a draw is fitted once in all runs.
        tracker: where results are shown.
        threads: draws fitted at a time, each in one thread: the number does not change a result.
    """

    def __init__(self, plan: Plan, store: Store, tracker: Tracker, threads: int = 1) -> None:
        torch.set_num_threads(1)
        self.plan, self.store, self.tracker, self.threads = plan, store, tracker, threads
        self._settings: dict[str, str] = {}
        self._failed: list[Failed] = []
        self._steps = 0
        self._roles = {member.spec.id: member.role for member in plan.members}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Open the run."""
        self._settings = {key: str(value) for key, value in settings.items()}
        config = dataclasses.asdict(self.plan.config) | {"seed": self.plan.seed}
        self.tracker.begin(self.plan.id, config, self._settings)

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome as it comes; a trained model's card goes to the tracker."""
        if isinstance(outcome, Failed):
            self._failed.append(outcome)
        elif isinstance(outcome.spec, ModelSpec):
            card = self.store.get("model", outcome.spec.id).info
            self.tracker.card({**card, "role": self._roles.get(outcome.spec.id, "")})

    def progress(self) -> tuple[int, int]:
        """Draws fitted and exhibits made, and how many there will be."""
        return self._steps, self.plan.config.verdict.n_draws + len(EXHIBITS)

    def _step(self) -> None:
        self._steps += 1

    def judge(self, seconds: Mapping[str, Any]) -> Report:
        """Fit all methods on all draws, judge, and show the result.

        Raises:
            UserError: the victim, the probe or too many models are missing.
        """
        panel, panelists, probe = self.panel()
        draws = self.fit(panel)
        report = make_report(self.plan, panelists, draws, probe.info)
        failures = [{"id": f.spec.id, "kind": f.spec.kind, "error": f.error, "lost": f.lost} for f in self._failed]
        report.body.update({**seconds, "failures": failures, "data_note": self._settings.get("data_note", "")})
        cards = {m.spec.id: self.store.get("model", m.spec.id).info for m in panelists.members}
        evidence = Evidence(
            self.plan,
            panel,
            panelists,
            draws,
            probe,
            cards,
            self.store,
            report.body,
            self._settings,
            self.pool_of(panel),
            self.threads,
        )
        exhibits = make_exhibits(evidence, self._step)
        report.body["exhibits"] = clean({key: value for e in exhibits for key, value in e.body.items()})
        self._show(report, exhibits, evidence)
        return report

    def panel(self) -> tuple[Panel, Panelists, Probe]:
        """All answers that are there, the victim's first."""
        plan = self.plan
        members = [m for m in plan.judged if self.store.has("answers", plan.answer(m).id)]
        if not members or members[0].role != "victim":
            causes = "; ".join(f.error for f in self._failed if not f.lost) or "unknown"
            raise UserError(f"expected a victim and its probe, they could not be made ({causes})")
        answers = [read_answers(self.store.get("answers", plan.answer(m).id)) for m in members]
        probe = read_probe(self.store.get("probe", plan.probe.id))
        panel = Panel.of(members, answers, probe, plan.probe, plan.config.verdict.formats)
        accuracy = tuple(float(self.store.get("model", m.spec.id).info["accuracy"]) for m in members)
        return panel, Panelists(tuple(members), accuracy, tuple(answers)), probe

    def fit(self, panel: Panel) -> list[ScoredDraw]:
        """Every draw's scores: read where they are stored, else fitted, several draws at a time."""
        config = self.plan.config.verdict
        pool = self.pool_of(panel)
        draws = [
            make_draw(panel.members, i, config.n_train, config.n_calibrate, str(self.plan.seed), pool=pool)
            for i in range(config.n_draws)
        ]
        with ThreadPoolExecutor(max_workers=self.threads) as threads:
            return list(threads.map(lambda draw: self._scored(panel, draw), draws))

    def pool_of(self, panel: Panel) -> int | None:
        """How many piracy and homologous models of the panel may train: those that were asked all views."""
        if self.plan.config.verdict.pool is None:
            return None
        asked = [m for m in panel.members if self.plan.answer(m).part == "all"]
        return min(sum(m.role == role for m in asked) for role in ("piracy", "homologous"))

    def _scored(self, panel: Panel, draw: Draw) -> ScoredDraw:
        config = self.plan.config
        methods = tuple(dict.fromkeys(("uap", "weighted_errors", *config.verdict.methods)))
        models = [member.spec.id for member in panel.members]
        settled = {"probe": self.plan.probe.id, "encoder": config.encoder, "formats": config.verdict.formats}
        key = content_id({**settled, "draw": draw, "models": models, "methods": methods})
        if self.store.intact("draw", key):
            scored = read_draw(self.store.get("draw", key), draw)
        else:
            scored = score_draw(panel, draw, methods, config.encoder, self.plan.probe.id)
            self.store.put("draw", key, *write_draw(scored))
        self._step()
        return scored

    def _show(self, report: Report, exhibits: Sequence[Exhibit], evidence: Evidence) -> None:
        """Numbers, nested runs, tables and figures."""
        panelists = evidence.panelists
        self.tracker.metrics(
            flatten(report.body, ("auc", "false_accusation", "power", "uap", "victim", "wall_seconds", "exhibits"))
        )
        draw = evidence.draws[0].draw
        parts = dict.fromkeys(draw.test, "test")
        parts |= dict.fromkeys((*draw.calibration, *draw.calibration_piracy), "calibration")
        verdict = {v["model"]: v for v in report.body["verdicts"]}
        for row, member in enumerate(panelists.members[1:], start=1):
            part = parts.get(row, "training")
            tags, metrics = suspect_entry(member, part, verdict.get(member.spec.id), panelists.accuracy[row])
            self.tracker.suspect(f"{member.role}-{member.spec.architecture}-{member.spec.id[:6]}", tags, metrics)
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), report, exhibits, evidence)
            self.tracker.folder(Path(folder))

    def close(self, status: str) -> str:
        """Close the run; returns where it can be seen."""
        return self.tracker.end(status)


def suspect_entry(
    member: Member, part: str, verdict: Mapping[str, Any] | None, accuracy: float
) -> tuple[dict[str, str], dict[str, float]]:
    """Tags and metrics of a nested run: what one wants to filter by."""
    spec = member.spec
    tags = {
        "role": member.role,
        "part": part,
        "model": spec.id,
        "architecture": spec.architecture,
        "optimizer": spec.recipe.optimizer,
        "batch_size": str(spec.recipe.batch_size),
        "attack": attack_of(member),
        "labels": str(getattr(spec.origin, "labels", "")),
        "stolen_from": member.group_of_victim,
        "modification": " + ".join(about(change) for change in spec.changes),
        "claim": verdict["claim"] if verdict else "",
        "weighted_errors_claim": verdict["weighted_errors_claim"] if verdict else "",
    }
    metrics = {"accuracy": accuracy}
    for name in (
        "similarity",
        "similarity_std",
        "p_value",
        "p_value_t_test",
        "weighted_errors",
        "weighted_errors_p",
    ):
        if verdict is not None:
            metrics[name] = float(verdict[name])
    return tags, metrics


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


def write_draw(scored: ScoredDraw) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A scored draw as tensors and JSON."""
    tensors = {f"{m}/{i}": s.scores for m, found in scored.methods.items() for i, s in enumerate(found)}
    tensors |= {f"attack_out/{attack}": scores for attack, scores in scored.attack_out.items()}
    info = {
        method: [
            dataclasses.asdict(s.candidate)
            | {"training_auc": s.training_auc, "training_gap": s.training_gap, "queries": s.queries}
            for s in found
        ]
        for method, found in scored.methods.items()
    }
    return tensors, {"methods": info}


def read_draw(artifact: Artifact, draw: Draw) -> ScoredDraw:
    """The inverse of `write_draw`."""
    methods = {
        method: tuple(
            Scored(
                Candidate(entry["block"], entry["format"]),
                artifact.tensors[f"{method}/{i}"],
                entry["training_auc"],
                entry["training_gap"],
                entry["queries"],
            )
            for i, entry in enumerate(found)
        )
        for method, found in artifact.info["methods"].items()
    }
    prefix = "attack_out/"
    out = {name.removeprefix(prefix): t for name, t in artifact.tensors.items() if name.startswith(prefix)}
    return ScoredDraw(draw, methods, out)
