"""What a report sets beside the paper: its encoder, fooling rate, numbers, Figure 7 and claims."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from everything import Shown

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.evaluation.encoder_trial import Setting, outcome, trial
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.blocks import CLEAN, PAPER
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.reporting.sections.sweeps import one_architecture
from uapfp_dist.serialization import to_json
from uapfp_dist.tracking.tracker import NullTracker


@pytest.mark.slow
def test_the_papers_encoder_learns_from_one_architecture(shown: Shown) -> None:
    """Against encoders trained on draws of that architecture by hand; the other row are the evaluation's own draws."""
    config = shown.plan.config
    plan = replace(shown.plan, config=replace(config, verdict=replace(config.verdict, n_train=1)))
    matrix, *_ = Evaluator(shown.plan, shown.store, NullTracker()).matrix()
    architecture = config.zoo.architectures[0]
    own, alone = (
        [make_resample(matrix.members, i, 1, 1, seed, only) for i in range(config.studies.n_resamples)]
        for seed, only in (("0", None), (f"0/{architecture}", architecture))
    )
    data = SimpleNamespace(plan=plan, matrix=matrix, store=shown.store)
    data.resamples = [SimpleNamespace(resample=resample) for resample in own]
    vars(data).update(pool=None, threads=1, setting="digits")
    found = one_architecture(cast(ReportData, data))
    assert found is not None
    assert found.remarks == ()
    trained = {
        matrix.members[row].spec.architecture for d in alone for row in (*d.training.piracy, *d.training.homologous)
    }
    assert trained == {architecture}
    for (_, row), draws in zip(found.tables["paper_row"].iterrows(), (own, alone), strict=True):
        scores = [
            trial(matrix, draw, Setting(PAPER), config.encoder, f"{plan.probe.id}/{draw.index}") for draw in draws
        ]
        gaps = [outcome(matrix, draw, mine)["gap"] for draw, mine in zip(draws, scores, strict=True)]
        assert row["gap"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)


@pytest.mark.slow
def test_fooling_is_counted_from_the_answers(shown: Shown) -> None:
    """Label of x + v against label of x, over the images of the test views, model by model."""
    plan, store = shown.plan, shown.store
    probe = read_probe(store.get("probe", plan.probe.id))
    block, n_views = probe.blocks[PAPER], plan.config.fingerprint.n_test_views
    sent = sorted({int(i) for i in block.gather[:n_views].flatten()})
    rates: dict[str, list[float]] = {}
    for member in plan.judged:
        answers = read_responses(store.get("answers", plan.response(member).id)).blocks
        moved = [int(answers[PAPER][i].argmax()) != int(answers[CLEAN][int(block.point[i])].argmax()) for i in sent]
        rates.setdefault(member.role, []).append(sum(moved) / len(moved))
    found = shown.report.body.sections.fooling
    assert found is not None
    assert found.keys() == rates.keys() >= {"victim", "piracy", "homologous"}
    for role, values in rates.items():
        assert found[role].fooling_rate == pytest.approx(sum(values) / len(values))
        assert found[role].models == len(values)


@pytest.mark.slow
def test_the_papers_numbers_stand_beside_ours(shown: Shown) -> None:
    """On digits those that it gives for all data; the t-test is that of its own way, Table 2's."""
    sections = shown.report.body.sections
    assert sections.beside_paper is not None
    table = {row.quantity: row for row in sections.beside_paper}
    assert len(table) == 3
    detected, t_test = table["share of piracy models detected at alpha .05 (t-test)"], sections.paper_t_test
    assert t_test is not None
    assert (detected.ours, detected.ours_low) == (t_test.piracy, t_test.piracy_low)
    assert table["fooling rate of the UAP on the victim"].ours == shown.report.body.uap.fooling_rate
    gaps, cells = sections.similarity_gaps, pd.DataFrame(to_json(sections)["similarity_by_architecture"])
    assert gaps is not None
    assert gaps.largest == pytest.approx(cells["piracy_mean"].max() - cells["homologous_mean"].min())
    (abstract,) = [c for c in sections.claims or () if c.claim.startswith("confidence above")]
    assert f"detects {t_test.piracy:.1%} of piracy" in abstract.measured


@pytest.mark.slow
def test_fingerprints_that_share_no_unit_with_the_victims_are_counted(shown: Shown) -> None:
    zero = shown.report.body.sections.exactly_zero
    assert zero is not None
    assert set(zero) == {"piracy", "homologous"}
    assert 0.0 <= zero["piracy"] <= zero["homologous"] <= 1.0
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert f"{zero['homologous']:.1%} of the homologous fingerprints" in page


@pytest.mark.slow
def test_figure_7_says_what_it_compares(shown: Shown) -> None:
    """One UAP beside local perturbations and a random vector of its norm, one encoder each."""
    table = pd.read_csv(shown.folder / "tables" / "fig7_uap_vs_lap.csv").set_index("method")
    assert table["perturbation"].to_dict() == {
        "uap_paper": "UAP at xi",
        "lap_paper": "LAP at xi",
        "random_paper": "random vector at xi",
        "lap_minimal": "LAP, minimal",
    }
    for method, auc in table["auc"].items():
        assert auc == pytest.approx(shown.report.body.auc[str(method)]["prob"]["homologous"])


@pytest.mark.slow
def test_every_claim_of_the_paper_has_an_outcome(shown: Shown) -> None:
    """By a rule that stands beside it."""
    claims = shown.report.body.sections.claims
    assert claims is not None
    assert len(claims) == 10
    assert all(c.rule and c.paper and c.measured for c in claims)
    by_claim = {c.claim: c.outcome for c in claims}
    assert by_claim["confidence above 99.99 % within 20 fingerprints (abstract)"] == "not reproduced"
