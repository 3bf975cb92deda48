"""The arbiter: hears of every outcome, fits every method's scorer, judges, and alone writes to the tracker."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from uapfp_dist.concurrency import map_threads
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import JudgedModels
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.resample_artifacts import read_resample, resample_artifact
from uapfp_dist.evaluation.state import store_failure
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.resamples import Resample, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, score_resample
from uapfp_dist.reporting.mlflow_fields import mlflow_metrics, mlflow_params, mlflow_tags, model_places, suspect_runs
from uapfp_dist.reporting.rendering import write_files
from uapfp_dist.reporting.report import Report, make_report
from uapfp_dist.reporting.report_tables import failures_of, failures_table
from uapfp_dist.reporting.sections import SECTIONS, ReportData, ReportSection, make_sections
from uapfp_dist.serialization import without_nan
from uapfp_dist.storage.store import Store, TornArtifactError
from uapfp_dist.tasks.hashing import JUDGING_VERSION, content_id
from uapfp_dist.tasks.outcomes import Failed, Outcome
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.tracking.publication import KIND, Publication, patience, publish, read_files
from uapfp_dist.tracking.tracker import Tracker


class Evaluator:
    """One evaluation's judge.

    Args:
        plan: what is evaluated.
        store: where answers are read and scores are kept, so that a draw is fitted once in all runs.
        tracker: where results are shown.
        threads: draws fitted at a time, each in one thread: the number does not change a result. None: the CPUs of
            this machine that this process may use, whatever else a cluster has.
        told: hears `progress()` whenever it has changed, from any thread.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        tracker: Tracker,
        threads: int | None = None,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        torch.set_num_threads(1)
        self._told = told
        self.plan, self.store, self.threads = plan, store, threads or _own_cpus()
        self._tracker, self._live = tracker, LiveTracker(tracker)
        self._settings: dict[str, str] = {}
        self._failed: list[Failed] = []
        self._steps = 0
        self._begun = 0.0
        self._busy: dict[str, float] = {}
        self._places = model_places(plan)
        self._cards: dict[str, dict[str, Any]] = {}

    def begin(self, settings: Mapping[str, Any]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: the tracker is none, or refuses.
        """
        self._settings = {key: str(value) for key, value in settings.items()}
        return self._live.begin(self.plan.id, mlflow_params(self.plan), mlflow_tags(self.plan, self._settings))

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome as it comes; a trained model's card goes to the tracker."""
        spec = outcome.spec
        if isinstance(outcome, Failed):
            self._failed.append(outcome)
            store_failure(self.store, outcome)
        elif isinstance(spec, ModelSpec):
            self._live.card(self._card(spec.id))
        else:
            self._busy[spec.stage] = self._busy.get(spec.stage, 0.0) + outcome.seconds

    def _card(self, model: str) -> dict[str, Any]:
        """Its card, and its place in the plan. It is read once: the artifact holds the weights too."""
        if model not in self._cards:
            self._cards[model] = {**self.store.get("model", model).info, **self._places[model]}
        return self._cards[model]

    def note(self, numbers: Mapping[str, float], seconds: int) -> None:
        """Show how the work stands, `seconds` after its start, among the tracker's system metrics."""
        self._live.metrics({f"system/{name}": value for name, value in numbers.items()}, seconds)

    def progress(self) -> tuple[int, int]:
        """Draws fitted and exhibits made, and how many there will be."""
        return self._steps, self.plan.config.verdict.n_resamples + len(SECTIONS)

    def _step(self) -> None:
        self._steps += 1
        self._told(*self.progress())

    def judge(self, seconds: Mapping[str, Any]) -> Report:
        """Fit all methods on all draws, judge, and put the report into the store with all that is to be shown of it.

        Raises:
            UserError: the victim, the probe or too many models are missing, or something is torn.
        """
        self._begun, started = time.process_time(), time.perf_counter()
        self._told(*self.progress())
        panel, panelists, probe = self.panel()
        draws = self.fit(panel)
        report = make_report(self.plan, panelists, draws, probe.summary)
        failures = failures_of(self._failed)
        report.tables["failures"] = failures_table(failures)
        told = {"preset": self._settings.get("preset", ""), "data_note": self._settings.get("data_note", "")}
        report.body.update({**seconds, "failures": failures, **told})
        made = [m for m in self.plan.judged if m in panelists.members or self.store.has("model", m.spec.id)]
        cards = {m.spec.id: self._card(m.spec.id) for m in made}
        evidence = ReportData(
            self.plan,
            panel,
            panelists,
            draws,
            probe,
            cards,
            self.store,
            report.body,
            self._settings,
            self.plan.pool_of(panel.members),
            self.threads,
        )
        exhibits = make_sections(evidence, self._step)
        report.body["exhibits"] = without_nan({key: value for e in exhibits for key, value in e.body.items()})
        report.body["stage_seconds"] = report.body.get("stage_seconds", {}) | {
            "judging": round(time.perf_counter() - started, 2)
        }
        self._keep(report, exhibits, evidence)
        return report

    def panel(self) -> tuple[ResponseMatrix, JudgedModels, Probe]:
        """All answers that are there, the victim's first."""
        plan = self.plan
        members = [m for m in plan.judged if self.store.has("answers", plan.response(m).id)]
        if not members or members[0].role != "victim":
            causes = "; ".join(f.error for f in self._failed if not f.skipped) or "unknown"
            raise UserError(f"expected a victim and its probe, they could not be made ({causes})")
        try:
            answers = [read_responses(self.store.get("answers", plan.response(m).id)) for m in members]
            probe = read_probe(self.store.get("probe", plan.probe.id))
            accuracy = tuple(float(self._card(m.spec.id)["accuracy"]) for m in members)
        except (TornArtifactError, FileNotFoundError) as error:
            raise UserError(
                f"expected every model, its answers and the probe whole, found one torn or gone ({error}); run again"
            ) from error
        panel = ResponseMatrix.from_responses(members, answers, probe, plan.probe, plan.config.verdict.formats)
        return panel, JudgedModels(tuple(members), accuracy, tuple(answers)), probe

    def fit(self, panel: ResponseMatrix) -> list[ScoredResample]:
        """Every draw's scores: read where they are stored, else fitted, several draws at a time."""
        config = self.plan.config.verdict
        pool = self.plan.pool_of(panel.members)
        draws = [
            make_resample(panel.members, i, config.n_train, config.n_calibrate, str(self.plan.seed), train_pool=pool)
            for i in range(config.n_resamples)
        ]
        return map_threads(lambda draw: self._scored(panel, draw), draws, self.threads)

    def _scored(self, panel: ResponseMatrix, draw: Resample) -> ScoredResample:
        config = self.plan.config
        methods = config.verdict.compared
        models = [member.spec.id for member in panel.members]
        settled = {
            "probe": self.plan.probe.id,
            "encoder": config.encoder,
            "formats": [fmt.wire for fmt in config.verdict.formats],
        }
        key = content_id({**settled, "draw": draw, "models": models, "methods": methods, "judging": JUDGING_VERSION})
        if self.store.intact("draw", key):
            scored = read_resample(self.store.get("draw", key), draw, methods)
        else:
            scored = score_resample(panel, draw, methods, config.encoder, self.plan.probe.id)
            self.store.put("draw", key, *resample_artifact(scored))
        self._step()
        return scored

    def _keep(self, report: Report, exhibits: Sequence[ReportSection], evidence: ReportData) -> None:
        """Put into the store what is to be shown, and then the report: where that is, nothing is missing."""
        cards = [self._cards[model] for model in self._places if model in self._cards]
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), report, exhibits, evidence)
            Path(folder, "model_cards.json").write_text(json.dumps(cards, indent=1))
            files = read_files(Path(folder))
        publication = Publication(
            self.plan.id,
            mlflow_params(self.plan),
            mlflow_tags(self.plan, self._settings),
            mlflow_metrics(report.body, cards, self._busy, time.process_time() - self._begun),
            cards,
            suspect_runs(evidence.panelists, evidence.draws[0].draw, report.body, self._cards),
            files,
        )
        self.store.put(KIND, self.plan.id, *publication.to_artifact())
        self.store.put("report", self.plan.id, {}, report.body)

    def publish(self) -> str:
        """Show all of it in the tracker, however much it has missed; returns why that was not possible, or nothing."""
        publication = Publication.from_artifact(self.store.get(KIND, self.plan.id))
        try:
            publish(publication, self._tracker, patience())
        except (ConnectionError, UserError) as error:
            return str(error)
        return ""

    def close(self, status: str) -> None:
        """Close the run of an evaluation that came to nothing; `publish` has closed a finished one."""
        if status != "FINISHED":
            self._live.end(status)


def _own_cpus() -> int:
    """Where the system cannot tell which are this process's (not Linux), all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
