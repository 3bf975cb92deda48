"""What removal costs and leaves of the evidence, in a report, against slow counting."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from system import run_here, tiny_plan, tiny_with_siblings

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.evaluation.judging import claim_rates, model_scores
from uapfp_dist.evaluation.modified_models import change_of, modified
from uapfp_dist.reporting.figures.removal import OTHER_FAMILY, family_of
from uapfp_dist.reporting.removal_schema import RemovalGroup
from uapfp_dist.reporting.sections import registry
from uapfp_dist.reporting.sections.controls import controls
from uapfp_dist.reporting.sections.removal import accuracy_lost, removal, scores_above
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.results.evaluations import removal_blocks
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import DERIVED_ROLES, NEGATIVE_ROLES, Member, Role
from uapfp_dist.tasks.modification_specs import FineTune

REMOVAL = RemovalConfig(4, 4, (0.3,), (), (0.05,), 5, fresh_distillation=True, n_guessing=0, compose=True)


@pytest.fixture(scope="module")
def data(blank_figures: None, tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Of a tiny evaluation with removal attacks, churn and the exact test."""
    config, caught = tiny_with_siblings(), list[ReportData]()
    config = replace(
        config,
        verdict=replace(config.verdict, methods=("churn", "weighted_churn")),
        zoo=replace(config.zoo, n_piracy=4),
        siblings=replace(config.siblings, exact=True),
        removal=REMOVAL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "SECTIONS", (caught.append, removal))
        report = run_here(tiny_plan(config), Store(str(tmp_path_factory.mktemp("removal") / "storage")))
    assert report.body.failures == ()
    assert report.body.sections.removal
    return caught[0]


@pytest.fixture(scope="module")
def section(data: ReportData) -> ReportSection:
    """The section itself."""
    found = removal(data)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def groups(section: ReportSection) -> dict[tuple[str, str], RemovalGroup]:
    """(role, change) to its numbers."""
    assert section.numbers.removal is not None
    return {(group.role, group.change): group for group in section.numbers.removal}


def test_controls_have_every_role_that_is_not_modified(data: ReportData) -> None:
    section = controls(data)
    table = section.tables["controls"].set_index("group")
    rates = claim_rates(data.resamples, data.judged.members, data.plan.config.verdict.decided_by, data.alpha)
    tested = {str(data.judged.members[row].role) for one in data.resamples for row in one.resample.test}
    assert set(table.index) == {role for role in tested if not role.startswith("modified_")}
    assert table["accused (conformal)"].to_dict() == {role: rates[role] for role in table.index}
    assert table.loc["relabelled_homologous", "should be"] == "not accused"
    assert table.loc["relabelled_piracy", "should be"] == "accused"
    rows = [text.get_text() for text in section.figures["false_accusations"].axes[0].get_yticklabels()]
    assert "independent, labels changed" in rows


def test_everyone_who_is_tested_has_a_line(data: ReportData, groups: dict[tuple[str, str], RemovalGroup]) -> None:
    members = data.judged.members
    tested = {row for one in data.resamples for row in one.resample.test}
    wanted = pd.Series([(str(members[row].role), change_of(members[row])) for row in tested]).value_counts()
    assert {key: group.models for key, group in groups.items() if group.models} == wanted.to_dict()
    planned = pd.Series([(str(m.role), change_of(m)) for m in data.plan.judged if m.role != Role.VICTIM]).value_counts()
    assert {key: group.made for key, group in groups.items()} == planned.to_dict()
    for role in ("modified_piracy", "modified_homologous"):
        assert (role, "PGD training .05, distillation on fresh images") in groups
    assert ("relabelled_piracy", "label noise .3") in groups


def test_shares_are_those_of_slow_counting(data: ReportData, groups: dict[tuple[str, str], RemovalGroup]) -> None:
    """`churn` by all of its points, one model after another."""
    members, found = data.judged.members, dict[tuple[str, str], dict[str, list[float]]]()
    for one in data.resamples:
        scored = one.chosen("churn")
        assert scored is not None
        scores, resample = model_scores(scored), one.resample
        for row in resample.test:
            rivals = [
                scores[other]
                for other in range(len(members))
                if (other in resample.test and members[other].role in NEGATIVE_ROLES) or other in resample.calibration
                if members[other].spec.id not in (members[row].spec.id, members[row].spec.root.id)
            ]
            key = (str(members[row].role), change_of(members[row]))
            found.setdefault(key, {}).setdefault(members[row].spec.id, []).append(scores[row] > max(rivals))
    for key, models in found.items():
        largest = max((c for c in groups[key].caught if c.test == "churn"), key=lambda c: c.images)
        shares = [sum(times) / len(times) for times in models.values()]
        assert largest.share == pytest.approx(sum(shares) / len(shares)), key


def test_what_is_lost(data: ReportData, groups: dict[tuple[str, str], RemovalGroup]) -> None:
    """Against the model that was attacked; or, made so from the start, against the unchanged stolen ones."""
    members, accuracy = data.judged.members, data.judged.accuracy
    of_id = {m.spec.id: a for m, a in zip(members, accuracy, strict=True)}
    group = groups["modified_piracy", "PGD training .05"]
    tested = {row for one in data.resamples for row in one.resample.test}
    mine = [members[row].spec for row in tested if change_of(members[row]) == group.change]
    lost = [of_id[spec.root.id] - of_id[spec.id] for spec in mine if spec.root.extraction]
    assert group.models == len(lost)
    assert group.accuracy_lost == pytest.approx(sum(lost) / len(lost))
    stolen = [a for m, a in zip(members, accuracy, strict=True) if m.role == Role.PIRACY]
    noisy = groups["relabelled_piracy", "label noise .3"]
    assert noisy.accuracy_lost == pytest.approx(sum(stolen) / len(stolen) - noisy.accuracy)
    assert groups["sibling_piracy", "as it is"].accuracy_lost == 0


def test_an_attack_on_noisy_labels_pays_for_the_noise(data: ReportData) -> None:
    """Guessed churn after label noise loses against unchanged models, not against the noisy one."""
    noisy = next(m for m in data.judged.members if m.role == Role.RELABELLED_PIRACY)
    again = Member(Role.RELABELLED_PIRACY, modified(noisy.spec, FineTune()))
    more = replace(data.judged, members=(*data.judged.members, again), accuracy=(*data.judged.accuracy, 0.125))
    stolen = [a for m, a in zip(more.members, more.accuracy, strict=True) if m.role == Role.PIRACY]
    assert accuracy_lost(replace(data, judged=more))[-1] == pytest.approx(sum(stolen) / len(stolen) - 0.125)


def test_models_that_no_resample_tests_are_counted(data: ReportData) -> None:
    """They were made, nothing is known of them, and the line says so."""
    attacked = [row for row, m in enumerate(data.judged.members) if m.role == Role.MODIFIED_PIRACY]
    lonely = [
        replace(
            one, resample=replace(one.resample, test=tuple(row for row in one.resample.test if row not in attacked))
        )
        for one in data.resamples
    ]
    found = removal(replace(data, resamples=lonely))
    assert found is not None
    assert found.numbers.removal is not None
    mine = [group for group in found.numbers.removal if group.role == "modified_piracy"]
    assert [(group.made, group.models, group.caught) for group in mine] == [(4, 0, ())] * 3
    assert all(math.isnan(group.accuracy) for group in mine)


def test_intervals_of_models_stolen_from_others_count_victims(groups: dict[tuple[str, str], RemovalGroup]) -> None:
    """Fewer than five have none."""
    for role in ("other_victim_piracy", "sibling_piracy"):
        assert all(math.isnan(one.low) for one in groups[role, "as it is"].caught)
    assert any(not math.isnan(one.low) for one in groups["piracy", "as it is"].caught)


def test_the_exact_test_and_every_budget_have_a_column(data: ReportData, section: ReportSection) -> None:
    columns = section.tables["removal"].columns[6:]
    tests = {column.split(",")[0] for column in columns}
    assert tests == {"weighted_churn", "churn", "uap", "weighted_errors", "exact"}
    assert {"weighted_churn, 20 images", "weighted_churn, 100 images"} <= set(columns)
    drawn = [axis.get_title("left") for axis in section.figures["removal"].axes]
    names = [title.split("\n")[0] for title in drawn if title]
    assert names == ["weighted churn", "weighted churn", "churn", "uap", "weighted errors", "exact"]


def test_the_best_negative_has_only_others_above_it(data: ReportData) -> None:
    """Itself, and what a suspect was made of, are no rivals; with none left there is nothing to say."""
    members = data.judged.members
    negatives = [row for row, m in enumerate(members) if m.role == Role.HOMOLOGOUS]
    scores = pd.Series(range(len(members)), dtype=float).to_numpy()
    assert scores_above(members, scores, negatives, negatives) == [0.0] * (len(negatives) - 1) + [1.0]
    modified = next(row for row, m in enumerate(members) if m.role == Role.MODIFIED_HOMOLOGOUS)
    root = next(row for row in negatives if members[row].spec.id == members[modified].spec.root.id)
    assert pd.isna(scores_above(members, scores, [modified], [root])[0])
    assert scores_above(members, 0 * scores, [modified], negatives) == [0.0]


def test_without_attacks_there_is_no_section(data: ReportData) -> None:
    plain = [member for member in data.judged.members if "modified" not in member.role and "relab" not in member.role]
    assert removal(replace(data, judged=replace(data.judged, members=tuple(plain)))) is None


def test_every_change_of_the_zoo_has_a_family(data: ReportData) -> None:
    assert OTHER_FAMILY not in {family_of(change_of(member)) for member in data.judged.members}
    assert {m.role in DERIVED_ROLES for m in data.judged.members} == {True, False}


def test_the_page_of_results_has_every_group(
    data: ReportData, section: ReportSection, groups: dict[tuple[str, str], RemovalGroup]
) -> None:
    words, folded = removal_blocks(replace(data.report, sections=section.numbers))
    assert "siblings" in words
    head, _, *lines = [line for line in folded.splitlines() if line.startswith("|")]
    assert len(lines) == len(groups)
    assert head.startswith("| models | what was done | made | tested | accuracy | lost | `weighted_churn`, 20 |")
    assert any(line.startswith("| stolen | as it is | ") and " | - | " in line for line in lines)
    assert {line.count(" | ") for line in lines} == {head.count(" | ")}
    assert list(removal_blocks(data.report)) == []
