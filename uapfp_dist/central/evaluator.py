"""The evaluator: observes outcomes, fits every method's scorer, judges; it alone writes to the tracker."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from uapfp_dist.central.resample_id import resample_id
from uapfp_dist.concurrency import map_threads, own_cpus
from uapfp_dist.config.methods import with_all_methods
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import JudgedModels
from uapfp_dist.evaluation.other_code import other_code
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.resample_artifacts import read_resample, resample_artifact
from uapfp_dist.evaluation.sibling_blocks import with_sibling_blocks
from uapfp_dist.evaluation.state import store_failure
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.resamples import Resample, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, score_resamples
from uapfp_dist.progress import WorkSummary
from uapfp_dist.reporting.mlflow_fields import (
    PlannedModel,
    all_numbers,
    answer_tag,
    mlflow_description,
    mlflow_metrics,
    mlflow_params,
    mlflow_tags,
    model_places,
    progress_metrics,
    progress_note,
    suspect_runs,
)
from uapfp_dist.reporting.rendering import write_files
from uapfp_dist.reporting.report import Report, make_report
from uapfp_dist.reporting.report_schema import Environment, ModelCounts
from uapfp_dist.reporting.report_tables import failures_of, failures_table
from uapfp_dist.reporting.section_schema import joined
from uapfp_dist.reporting.sections.registry import SECTIONS, make_sections
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.storage.store import Store, TornArtifactError
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.outcomes import Failed, Outcome
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.tracking.publication import KIND, Publication, publish_stored, read_files
from uapfp_dist.tracking.tracker import DESCRIPTION, Tracker


class Evaluator:
    """Judges one evaluation.

    Args:
        plan: what is evaluated.
        store: where responses are read and scores are kept, so that a resample is fitted once in all runs.
        tracker: where results are shown.
        threads: that train encoders: the number does not change a result. None: the CPUs of this machine that this
            process may use, whatever else a cluster has.
        on_progress: called with `progress()` whenever it has changed, from any thread.
        device: where encoders are trained.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        tracker: Tracker,
        threads: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.set_num_threads(1)
        self._on_progress, self._device = on_progress, device
        self.plan, self.store, self.threads = plan, store, threads or own_cpus()
        self._tracker, self._live = tracker, LiveTracker(tracker)
        self._settings: dict[str, str] = {}
        self._failed: list[Failed] = []
        self._steps, self._begun = 0, 0.0
        self._busy: dict[str, float] = {}
        self._places = model_places(plan)
        self._cards: dict[str, ModelCard] = {}

    def begin(self, settings: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: there is no such tracker, or it refuses.
        """
        self._settings = {key: str(value) for key, value in settings.items()}
        return self._live.start_run(self.plan.id, mlflow_params(self.plan), mlflow_tags(self.plan, self._settings))

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome as it comes; a trained model's card goes to the tracker."""
        spec = outcome.spec
        if isinstance(outcome, Failed):
            self._failed.append(outcome)
            store_failure(self.store, outcome)
        elif isinstance(spec, ModelSpec):
            card = self._card(spec.id)
            self._live.log_model(card.accuracy, self._places[spec.id].number)
        else:
            self._busy[spec.stage] = self._busy.get(spec.stage, 0.0) + outcome.seconds

    def _card(self, model: str) -> ModelCard:
        """A model's card, read once: the artifact holds the weights too."""
        if model not in self._cards:
            self._cards[model] = from_json(ModelCard, self.store.get("model", model).info)
        return self._cards[model]

    def note(self, numbers: Mapping[str, float], seconds: int) -> None:
        """Show how the work stands, `seconds` after its start, as the run's description and two curves."""
        self._live.log_metrics(progress_metrics(numbers), seconds)
        self._live.describe(progress_note(numbers, seconds))

    def progress(self) -> tuple[int, int]:
        """Resamples fitted plus sections made, of how many in all."""
        return self._steps, self.plan.config.verdict.n_resamples + len(SECTIONS)

    def _step(self) -> None:
        self._steps += 1
        self._on_progress(*self.progress())

    def judge(self, work: WorkSummary) -> Report:
        """Fit all methods on all resamples, judge, and store the report with all that is to be shown of it.

        Raises:
            UserError: the victim, the probe or too many models are missing, or an artifact is torn.
        """
        self._begun, started = time.process_time(), time.perf_counter()
        self._on_progress(*self.progress())
        matrix, judged, probe = self.matrix()
        resamples = self.fit(matrix)
        report = make_report(self.plan, judged, resamples, probe.summary)
        failures = failures_of(self._failed)
        body = replace(
            report.body,
            models=ModelCounts(**work.models),
            stage_seconds=work.stage_seconds,
            workers_busy=math.nan if work.workers_busy is None else work.workers_busy,
            failures=failures,
            preset=self._settings.get("preset", ""),
            data_note=self._settings.get("data_note", ""),
            remarks=(*report.body.remarks, *other_code(self.store, self.plan.specs)),
            precision=None if self.plan.config.precision == "float32" else self.plan.config.precision,
            environment=from_json(Environment, self._settings) if "python" in self._settings else None,
        )
        made = published_ids(self.store, (m.spec for m in self.plan.judged)) | {m.spec.id for m in judged.members}
        data = ReportData(
            self.plan,
            matrix,
            judged,
            resamples,
            probe,
            {m.spec.id: self._card(m.spec.id) for m in self.plan.judged if m.spec.id in made},
            self.store,
            body,
            self._settings,
            self.plan.pool_of(matrix.members),
            self.threads,
        )
        sections = make_sections(data, self._step)
        judging = time.perf_counter() - started
        body = replace(
            body,
            sections=joined(section.numbers for section in sections),
            stage_seconds={**body.stage_seconds, "judging": round(judging, 2)},
            wall_seconds=None if work.wall_seconds is None else round(work.wall_seconds + judging, 2),
        )
        report = Report(body, {**report.tables, "failures": failures_table(failures)})
        self._keep(report, sections, data, work)
        return report

    def matrix(self) -> tuple[ResponseMatrix, JudgedModels, Probe]:
        """The responses that are stored, the victim's first, with their models and the probe."""
        plan, there = self.plan, published_ids(self.store, self.plan.specs)
        members = [m for m in plan.judged if all(r.id in there for r in plan.responses(m))]
        if not members or members[0].role != "victim":
            causes = "; ".join(f.error for f in self._failed if not f.skipped) or "unknown"
            raise UserError(f"expected a victim, its probe and its churn points, they could not be made ({causes})")
        try:
            responses = [read_responses(self.store.get_mapped("answers", plan.response(m).id)) for m in members]
            probe = read_probe(self.store.get("probe", plan.probe.id))
            accuracy = tuple(self._card(m.spec.id).accuracy for m in members)
        except (TornArtifactError, FileNotFoundError) as error:
            raise UserError(
                f"expected every model, its responses and the probe whole, found one torn or gone ({error}); run again"
            ) from error
        matrix = ResponseMatrix.from_responses(members, responses, probe, plan.probe, plan.config.verdict.formats)
        return with_sibling_blocks(matrix, plan, self.store), JudgedModels(tuple(members), accuracy), probe

    def fit(self, matrix: ResponseMatrix) -> list[ScoredResample]:
        """Every resample's scores: read where they are stored, else fitted, several at a time."""
        config, pool = self.plan.config.verdict, self.plan.pool_of(matrix.members)
        resamples = [
            make_resample(matrix.members, i, config.n_train, config.n_calibrate, str(self.plan.seed), train_pool=pool)
            for i in range(config.n_resamples)
        ]
        found = map_threads(self._stored_resample(matrix), resamples, self.threads)
        fresh = self._fitted(
            matrix, [resample for resample, stored in zip(resamples, found, strict=True) if not stored]
        )
        for i, stored in enumerate(found):
            found[i] = stored or next(fresh)
            self._step()
        return [scored for scored in found if scored]

    def _stored_resample(self, matrix: ResponseMatrix) -> Callable[[Resample], ScoredResample | None]:
        """Reads a resample that was scored before, by the methods compared or by all that there are."""
        methods = self.plan.config.verdict.compared

        def read(resample: Resample) -> ScoredResample | None:
            for config in (self.plan.config, with_all_methods(self.plan.config)):
                key = resample_id(self.plan, config, matrix.members, resample)
                if self.store.intact("draw", key):
                    return read_resample(self.store.get("draw", key), resample, methods)
            return None

        return read

    def _fitted(self, matrix: ResponseMatrix, resamples: Sequence[Resample]) -> Iterator[ScoredResample]:
        """Resamples as they are scored; each is stored."""
        config, methods = self.plan.config, self.plan.config.verdict.compared
        encoders = config.encoder, self.plan.probe.id, self.threads, self._device
        for scored in score_resamples(matrix, resamples, methods, *encoders):
            key = resample_id(self.plan, config, matrix.members, scored.resample)
            self.store.put("draw", key, *resample_artifact(scored))
            yield scored

    def _keep(self, report: Report, sections: Sequence[ReportSection], data: ReportData, work: WorkSummary) -> None:
        """Store what is to be shown, and then the report: where that is, nothing is missing."""
        models = [PlannedModel(self._cards[id_], place) for id_, place in self._places.items() if id_ in self._cards]
        cards = [model.to_json() for model in models]
        numbers = all_numbers(report.body, models, self._busy, time.process_time() - self._begun)
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), report, sections, data)
            for name, content in {"model_cards": cards, "numbers": numbers, "progress": work.notes}.items():
                Path(folder, f"{name}.json").write_text(json.dumps(content, indent=1))
            files = read_files(Path(folder))
        publication = Publication(
            self.plan.id,
            mlflow_params(self.plan),
            {
                **mlflow_tags(self.plan, self._settings),
                "decided_by": report.body.decided_by,
                "answer": answer_tag(report.body),
                DESCRIPTION: mlflow_description(report.body),
            },
            mlflow_metrics(report.body, numbers),
            cards,
            suspect_runs(data.judged, data.resamples[0].resample, report.body, self._cards),
            files,
            numbers=numbers,
        )
        self.store.put(KIND, self.plan.id, *publication.to_artifact())
        self.store.put("report", self.plan.id, {}, to_json(report.body))

    def publish(self) -> str:
        """Show all of it in the tracker, however much it has missed; returns why not, or an empty string."""
        return publish_stored(self.store, self.plan.id, self._tracker)

    def page(self) -> str:
        """The address of the run's page; empty where the tracker has none open."""
        return self._tracker.page()

    def close(self, status: str) -> None:
        """Close the run of an evaluation that came to nothing; `publish` has closed a finished one."""
        if status != "FINISHED":
            self._live.end_run(status)
