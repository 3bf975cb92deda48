"""What a verdict page shows of churn: points in the order of their weight, and how they add up to the score."""

from dataclasses import replace

import pytest
import torch
from kits import BUDGETS, answers, make_churn_kit, make_test_kit
from matplotlib.text import Text
from torch import Tensor

from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.churn_evidence import ChurnAnswers, count_labels
from uapfp_dist.verification.reports.churn_figures import N_SHOWN, churn_images_figure, evidence_figure
from uapfp_dist.verification.reports.methods_table import BESIDE, methods_tables
from uapfp_dist.verification.reports.verdict_figures import perturbations_figure, scores_figure
from uapfp_dist.verification.reports.verdict_page import verdict_page
from uapfp_dist.verification.reports.verdict_text import verdict_text

KITS = {size: make_churn_kit(size) for size in ("full", "light")}


@pytest.fixture(params=["full", "light"])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Nineteen models in each of four groups."""
    return KITS[request.param]


def case_of(kit: Kit, probabilities: Tensor, point_set: int = 1, budget: int | None = BUDGETS[1]) -> JudgedSuspect:
    """As a replay gives it."""
    assert kit.input_check is not None
    most = None if budget is None else budget + len(kit.input_check.first)
    begin = Begin(
        kit=kit.digest,
        suspect={"name": "$s_<b>", "output": "label"},
        judged=Judged(("$s_<b>",), 0.05),
        max_queries=most,
        point_set=point_set,
    )
    given = SuspectResponses("$s_<b>", probabilities, LABEL, point_set=point_set, n_churn_points=budget)
    return JudgedSuspect(judge(kit, [given])[0], probabilities, begin, Ledger([begin]), "0" * 64)


@pytest.mark.parametrize("from_below", [False, True])
@pytest.mark.parametrize("budget", [*BUDGETS, None])
def test_the_running_score_ends_at_the_verdicts(from_below: bool, budget: int | None, kit: Kit) -> None:
    """For the suspect and for every model, the missing answers left out; every step is the weight of one point."""
    given = answers(kit, 0.6)
    assert kit.churn is not None
    given[kit.churn.points[1, [0, 2]]] = torch.nan
    case = case_of(kit, given, budget=budget)
    shown = ChurnAnswers.of(kit, case)
    assert shown is not None
    assert case.verdict.churn is not None
    assert len(shown.at) == case.verdict.churn.of == (budget or BUDGETS[-1]) - 2
    assert int(shown.agrees.sum()) == case.verdict.churn.agreed
    own = shown.running_scores(shown.agrees[None], from_below=from_below)[0]
    assert float(own[-1]) == pytest.approx(case.verdict.churn.score, abs=1e-8)
    others = shown.running_scores(shown.models_agree, from_below=from_below)[:, -1]
    rows = [i for i, row in enumerate(kit.info.models) if row.group == "sibling"]
    assert others[rows].tolist() == pytest.approx(list(case.verdict.scores["sibling"]), abs=1e-8)
    row = kit.churn.budgets.tolist().index(budget or BUDGETS[-1])
    weights = kit.churn.weights[row, 1, shown.at]
    assert (weights.diff() <= 0).all()
    steps = own.diff()
    up, down = (1.0, 0.0) if from_below else (0.5, -0.5)
    assert torch.allclose(steps, weights[1:] * torch.where(shown.agrees[1:], up, down))


def test_a_share_from_below_begins_at_nothing() -> None:
    """By `churn` it is the share of images with the victim's label."""
    kit = KITS["light"]
    shown = ChurnAnswers.of(kit, case_of(kit, answers(kit, 0.5)))
    assert shown is not None
    own = shown.running_scores(shown.agrees[None], from_below=True)[0]
    assert own.tolist() == pytest.approx((shown.agrees.cumsum(0) / BUDGETS[1]).tolist())


def test_what_is_said_at_each_point(kit: Kit) -> None:
    given = answers(kit, 0.5)
    shown = ChurnAnswers.of(kit, case_of(kit, given))
    assert shown is not None
    assert kit.churn is not None
    for i, at in enumerate(shown.at.tolist()):
        image = int(kit.churn.points[1, at])
        assert int(shown.images[i]) == image
        assert int(shown.victim[i]) == int(kit.victim_labels[image])
        assert int(shown.suspect[i]) == int(given[image].argmax())
        assert torch.equal(shown.committee[i], kit.churn.committee[1, at])


def test_labels_are_counted_the_most_frequent_first() -> None:
    assert count_labels(torch.tensor([3, 1, 3, 0, 1, 2])) == [(1, 2), (3, 2), (0, 1), (2, 1)]


def test_few_answers_and_none(kit: Kit) -> None:
    """Of one point a figure of one image; of none, no figure, and the page stands."""
    assert kit.churn is not None
    given = answers(kit, 1.0)
    given[kit.churn.points[1, 1:]] = torch.nan
    images = churn_images_figure(kit, case_of(kit, given))
    assert images is not None
    assert len(images.axes) == 1
    assert evidence_figure(kit, case_of(kit, given)) is not None
    given[kit.churn.points[1]] = torch.nan
    case = case_of(kit, given)
    assert churn_images_figure(kit, case) is None
    assert evidence_figure(kit, case) is None
    assert "inconclusive" in verdict_page(kit, [case])


def test_images_say_who_says_what(kit: Kit) -> None:
    """Three lines under each, the suspect's in bold where it is the victim's; names draw no formulas."""
    kit = replace(kit, class_names=("$a_very_long_name$", "b", "c", "d"))
    case = case_of(kit, answers(kit, 0.5))
    figure = churn_images_figure(kit, case)
    shown = ChurnAnswers.of(kit, case)
    assert figure is not None
    assert shown is not None
    assert len(figure.axes) == min(N_SHOWN, BUDGETS[1])
    for i, axis in enumerate(figure.axes):
        victim, siblings, suspect = axis.texts
        assert victim.get_text().startswith("victim: ")
        assert siblings.get_text().startswith("siblings: ")
        bold = suspect.get_fontweight() == "bold"
        assert bold == bool(shown.agrees[i])
        assert bold == (suspect.get_text().removeprefix("suspect") == victim.get_text().removeprefix("victim"))
    figure.canvas.draw()  # a formula would fail


def test_the_suspect_falls_among_every_group(kit: Kit) -> None:
    """Groups of the figure, counts of the table; the largest p is the verdict's."""
    case = case_of(kit, answers(kit, 0.5))
    (axis,) = scores_figure(case).axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[3:] == ["models stolen from a sibling of the victim", "models stolen from the victim"]
    methods, negatives = methods_tables(case.verdict).values()
    assert case.verdict.churn is not None
    assert negatives["of"].tolist() == [19] * 4
    assert max(negatives["conformal p"]) == case.verdict.p_value
    for count, group in zip(negatives.iloc[:, 1], ("homologous", "same_data", "other_victim", "sibling"), strict=True):
        assert count == sum(score >= case.verdict.churn.score for score in case.verdict.scores[group])
    roles = methods.iloc[:, 1].tolist()
    assert roles[0] == "decides, by design"
    assert roles[1:] == [BESIDE] * (2 if kit.views else 0)


def test_page_and_text_claim_no_more_than_was_shown(kit: Kit) -> None:
    """Of a kit whose siblings may give the victim's label at up to 30 % of the images, or, unsaid, as many as do."""
    case = case_of(kit, answers(kit, 0.2))
    assert case.verdict.claim == "inconclusive"
    configured = replace(kit, info=replace(kit.info, configuration={"churn": {"largest_share": 0.3}}))
    for made, siblings in ((kit, "at most 20 % of its siblings"), (configured, "at most 30 % of its siblings")):
        page, text = verdict_page(made, [case]), verdict_text(made, [case])
        assert f"images at which {siblings} give the victim" in page
        assert "is evidence of having learned from the victim" in page
        assert f"images where {siblings} give it (set 1)" in text
        assert f"where {siblings} give the victim's label" in kit_text(made)
        for word in ("has learned from", "nearly all of its siblings", "hardly"):
            assert word not in page + text + kit_text(made)
    taken = case_of(kit, answers(kit, 1.0))
    assert "piracy, derived from the victim or its answers." in verdict_text(kit, [taken])
    assert any("means derived from the victim or its answers:" in limit for limit in taken.verdict.limits)


def test_a_page_of_a_kit_without_churn_says_nothing_of_it() -> None:
    kit = make_test_kit()
    begin = Begin(kit=kit.digest, suspect={"name": "s", "output": "probabilities"}, judged=Judged(("s",), 0.05))
    verdict = judge(kit, [SuspectResponses("s", kit.victim, LABEL)])[0]
    case = JudgedSuspect(verdict, kit.victim, begin, Ledger([begin]), "0" * 64)
    assert ChurnAnswers.of(kit, case) is None
    page = verdict_page(kit, [case])
    for word in ("sibling", "churn", "derived from", "without a claim", "adds up"):
        assert word not in page
    assert "Both methods; which one decides was fixed at enrolment" in page


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_a_caption_shows_no_confidence_that_nobody_gave(output: str) -> None:
    full = KITS["full"]
    case = case_of(full, answers(full, 1.0))
    begin = replace(case.begin, suspect={**case.begin.suspect, "output": output})
    figure = perturbations_figure(full, replace(case, begin=begin))
    assert figure is not None
    captions = [text.get_text() for text in figure.findobj(Text) if " to: " in text.get_text().replace("\n", " ")]
    assert captions
    assert all(("1.00" in caption) == (output == "probabilities") for caption in captions)
