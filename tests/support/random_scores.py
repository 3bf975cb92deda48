"""A zoo that scores at random: what is counted from scores, without a model that was trained."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import torch

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.evaluation.judging import JudgedModels
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.blocks import parse_blocks
from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.probe_data import ProbeSummary, UapSet
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.fingerprints.scoring import ScoredCandidate, ScoredResample
from uapfp_dist.reporting.report import make_report
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store

METHODS = ("uap", "uap_ensemble", "weighted_errors")
UAPS = dict.fromkeys((1.0, 0.5, 0.7), UapSet(1, 1.0, 1.0, 0.1, 0.8, 0.4))
SUMMARY = ProbeSummary(UAPS, mean_image_norm=3.0, fooling_target_reached=True, natural_errors=5, topped_up=95)


def scored_draw(
    plan: Plan,
    index: int,
    formats: tuple[ResponseFormat, ...] = (PROBABILITIES, LABEL),
    n_calibrate: int = 19,
    compared: Sequence[str] = METHODS,
    n_train: int = 5,
) -> ScoredResample:
    """A draw of a zoo in which every method scores at random, four views a model."""
    members = plan.judged
    draw = make_resample(members, index, n_train, n_calibrate, "judging")
    methods: dict[str, tuple[ScoredCandidate, ...]] = {}
    for method in compared:
        for fmt in (LABEL,) if method == "weighted_errors" else formats:
            block = "natural" if method == "weighted_errors" else "uap@0.5+uap@0.7"
            views = torch.rand(len(members), 4, generator=torch_rng(method, fmt.wire, index))
            found = ScoredCandidate(
                Candidate(parse_blocks(block), fmt), views, 0.9 if fmt == PROBABILITIES else 0.5, 1.0, 60
            )
            methods[method] = (*methods.get(method, ()), found)
    return ScoredResample(draw, methods, {})


def judged_models(plan: Plan) -> JudgedModels:
    """The zoo, every model equally accurate."""
    return JudgedModels(plan.judged, (0.9,) * len(plan.judged))


def report_data(plan: Plan, config: VerdictConfig, compared: Sequence[str] = METHODS) -> ReportData:
    """Two draws under `config`, the methods `compared` in each, and the report made of them."""
    plan = replace(plan, config=replace(plan.config, verdict=config))
    judged = judged_models(plan)
    resamples = [scored_draw(plan, i, config.formats, config.n_calibrate, compared, config.n_train) for i in range(2)]
    cards = {
        m.spec.id: SimpleNamespace(
            accuracy=0.9,
            accuracy_before=0.9,
            recovery=0.79,
            queries=10,
            modifications=tuple(modification.description for modification in m.spec.modifications),
        )
        for m in plan.judged
    }
    report = make_report(plan, judged, resamples, SUMMARY)
    return ReportData(plan, None, judged, resamples, None, cards, Store("memory://none"), report.body)  # type: ignore[arg-type]
