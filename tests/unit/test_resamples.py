"""Resamples: models that train, calibrate and are tested, never the same model twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, leave_some_out, make_resample, stratified
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.members import NEGATIVE_ROLES, STOLEN_ROLES, Member, Role
from uapfp_dist.tasks.modification_specs import FineTune, Prune
from uapfp_dist.tasks.specs import Modified

N_TRAIN, N_CALIBRATE = 5, 19


@pytest.fixture(scope="module")
def members(digits_plan: Plan) -> tuple[Member, ...]:
    """The victim and every suspect of the digits preset."""
    return digits_plan.judged


@pytest.fixture(scope="module")
def resamples(members: tuple[Member, ...]) -> list[Resample]:
    """Twenty partitions."""
    return [make_resample(members, i, N_TRAIN, N_CALIBRATE, "seed") for i in range(20)]


STOLEN = (Role.PIRACY, Role.OTHER_VICTIM_PIRACY, Role.CALIBRATION_PIRACY)


def roles(rows: Sequence[int], members: Sequence[Member]) -> Counter[str]:
    """How many rows of each role."""
    return Counter(members[row].role for row in rows)


def test_every_suspect_has_exactly_one_place(resamples: list[Resample], members: tuple[Member, ...]) -> None:
    """Training, calibration and test are disjoint and cover the suspects; the victim is none of them."""
    suspects = [i for i, m in enumerate(members) if m.role in STOLEN_ROLES + NEGATIVE_ROLES]
    for resample in resamples:
        t = resample.training
        placed = [*t.piracy, *t.homologous, *t.other_victim, *t.sibling, *resample.calibration, *resample.test]
        assert sorted(placed) == suspects
    assert 0 not in suspects


def test_places_go_to_the_roles_they_are_for(resamples: list[Resample], members: tuple[Member, ...]) -> None:
    """5 + 5 train, homologous models calibrate; soft-label and same-data models are only ever tested."""
    for resample in resamples:
        assert roles(resample.training.piracy, members) == {"piracy": N_TRAIN}
        assert roles(resample.training.homologous, members) == {"homologous": N_TRAIN}
        assert roles(resample.calibration, members) == {"homologous": N_CALIBRATE}
        assert set(roles(resample.training.other_victim, members)) == {"other_victim_piracy"}
        assert roles(resample.test, members) == {
            "piracy": 7,
            "homologous": 5,
            "soft_piracy": 3,
            "same_data": 3,
            "other_victim_piracy": 3,
            "sibling_piracy": 3,
        }
        assert roles(resample.training.sibling, members) == {"sibling_piracy": 2}


def test_siblings_change_no_other_part_of_a_resample(members: tuple[Member, ...]) -> None:
    """They are drawn last: what trained, calibrated and was tested without them still does."""
    rows = [row for row, member in enumerate(members) if member.role != Role.SIBLING_PIRACY]
    for i in range(5):
        new = make_resample(members, i, N_TRAIN, N_CALIBRATE, "seed")
        old = make_resample([members[row] for row in rows], i, N_TRAIN, N_CALIBRATE, "seed")
        for name in ("piracy", "homologous", "other_victim"):
            assert getattr(new.training, name) == tuple(rows[row] for row in getattr(old.training, name))
        assert new.calibration == tuple(rows[row] for row in old.calibration)
        tested = [row for row in new.test if members[row].role != Role.SIBLING_PIRACY]
        assert tested == [rows[row] for row in old.test]
        assert old.training.sibling == ()


def test_every_model_stolen_from_a_sibling_is_left_out_once(resamples: list[Resample]) -> None:
    """As the models stolen from the other victim, when a scorer is cross-validated on the training models."""
    for resample in resamples:
        folds = leave_some_out(resample.training)
        out = [row for _, gone in folds for row in gone.sibling]
        assert sorted(out) == sorted(resample.training.sibling)
        assert all(not {*gone.sibling} & {*stays.sibling} for stays, gone in folds)


def test_negatives_of_one_other_victim_are_tested_on_another(
    resamples: list[Resample], members: tuple[Member, ...]
) -> None:
    """Of one other victim all stolen models train and none is tested; of the other all are tested and none trains."""
    trained: Counter[str] = Counter()
    for resample in resamples:
        seen = {members[row].stolen_from for row in resample.training.other_victim}
        unseen = {members[row].stolen_from for row in resample.tested(members, "other_victim_piracy")}
        assert len(seen) == len(unseen) == 1
        assert not seen & unseen
        trained.update(seen)
    assert len(trained) == 2  # each other victim has its turn


def test_training_and_calibration_spread_over_architectures(
    resamples: list[Resample], members: tuple[Member, ...]
) -> None:
    """No architecture has two models more than another, and no two resamples need be alike."""
    for resample in resamples:
        for rows in (resample.training.piracy, resample.training.homologous, resample.calibration):
            counts = Counter(members[row].spec.architecture for row in rows)
            assert len(counts) == 4
            assert max(counts.values()) - min(counts.values()) <= 1
    assert len({resample.training.homologous for resample in resamples}) > 10


def test_stratification_spreads_optimizers_within_architectures(members: tuple[Member, ...]) -> None:
    """Twelve of twenty-nine: one of every (architecture, optimizer)."""
    rows = [i for i, m in enumerate(members) if m.role == "homologous"]
    chosen = stratified(rows, members, 12, numpy_rng("stratified"))
    cells = Counter((members[row].spec.architecture, members[row].spec.recipe.optimizer) for row in chosen)
    assert len(cells) == 12
    assert set(chosen) <= set(rows)


def test_every_model_is_tested_in_some_resample(members: tuple[Member, ...]) -> None:
    """The partition is random: nobody is always in training."""
    many = [make_resample(members, i, N_TRAIN, N_CALIBRATE, "many") for i in range(150)]
    tested = {row for resample in many for row in resample.test}
    assert tested == {i for i, m in enumerate(members) if m.role in STOLEN_ROLES + NEGATIVE_ROLES}


def test_resamples_follow_from_seed_and_index(members: tuple[Member, ...]) -> None:
    """The same again for the same; different for another seed or index."""
    first = make_resample(members, 3, N_TRAIN, N_CALIBRATE, "seed")
    assert first == make_resample(members, 3, N_TRAIN, N_CALIBRATE, "seed")
    assert first.training != make_resample(members, 4, N_TRAIN, N_CALIBRATE, "seed").training
    assert first.training != make_resample(members, 3, N_TRAIN, N_CALIBRATE, "other").training


def test_a_single_other_victim_is_left_for_the_test(members: tuple[Member, ...]) -> None:
    """Then no victim is left to hold the negatives against: none trains."""
    groups = sorted({m.stolen_from for m in members if m.role == "other_victim_piracy"})
    one = [m for m in members if m.stolen_from != groups[0]]
    resample = make_resample(one, 0, N_TRAIN, N_CALIBRATE, "seed")
    assert resample.training.other_victim == ()
    assert len(resample.tested(one, "other_victim_piracy")) == 3


def test_calibration_leaves_a_negative_to_test(members: tuple[Member, ...]) -> None:
    """More calibration models than there are: all but one, so that false accusation can still be measured."""
    resample = make_resample(members, 0, N_TRAIN, 1000, "seed")
    assert len(resample.calibration) == 29 - N_TRAIN - 1
    assert len(resample.tested(members, "homologous")) == 1


def test_stolen_models_that_calibrate_have_a_victim_each_and_do_nothing_else(digits: Dataset) -> None:
    """Each has another victim, like the other victims: a model stolen from a further one is exchangeable with them."""
    config = preset("digits")
    members = make_plan(replace(config, zoo=replace(config.zoo, n_calibration_piracy=20)), 0, digits).judged
    victims = {role: [m.spec.extraction.victim for m in members if m.role == role] for role in STOLEN}  # type: ignore[union-attr]
    stolen = [i for i, m in enumerate(members) if m.role == "calibration_piracy"]
    assert len(set(victims["calibration_piracy"])) == len(stolen) == 20
    assert not {*victims["calibration_piracy"]} & {*victims["piracy"], *victims["other_victim_piracy"]}
    assert {v.architecture for v in victims["calibration_piracy"]} == {members[0].spec.architecture}
    for i in range(5):
        resample = make_resample(members, i, N_TRAIN, N_CALIBRATE, "seed")
        assert list(resample.calibration_piracy) == stolen
        assert not {*stolen} & {*resample.test, *resample.calibration, *resample.training.other_victim}


@pytest.mark.parametrize("architecture", ["B", "D"])
def test_training_on_one_architecture(architecture: str, members: tuple[Member, ...]) -> None:
    """The paper's way: all of the 5 + 5 are of it, calibration and test are not restricted."""
    resample = make_resample(members, 0, 2, N_CALIBRATE, "seed", only_architecture=architecture)
    trained = [*resample.training.piracy, *resample.training.homologous]
    assert len(trained) == 4
    assert {members[row].spec.architecture for row in trained} == {architecture}
    for rows in (resample.calibration, resample.tested(members, "piracy")):
        assert len({members[row].spec.architecture for row in rows}) == 4


def test_only_the_pool_trains(members: tuple[Member, ...]) -> None:
    """The first so many of each role; the others were not queried with all views. All are tested in some resample."""
    pool = {m: [i for i, member in enumerate(members) if member.role == m][:8] for m in ("piracy", "homologous")}
    trained, tested = set(), set()
    for i in range(40):
        resample = make_resample(members, i, N_TRAIN, 5, "seed", train_pool=8)
        assert {*resample.training.piracy} <= {*pool["piracy"]}
        assert {*resample.training.homologous} <= {*pool["homologous"]}
        assert not {*resample.calibration} & {*resample.training.homologous}
        trained |= {*resample.training.piracy, *resample.training.homologous}
        tested |= {*resample.test}
    assert trained == {*pool["piracy"], *pool["homologous"]}
    assert tested == {i for i, m in enumerate(members) if m.role in STOLEN_ROLES + NEGATIVE_ROLES}


def test_a_pool_of_everybody_is_no_pool(members: tuple[Member, ...], resamples: list[Resample]) -> None:
    """The same resamples as without one."""
    assert [make_resample(members, i, N_TRAIN, N_CALIBRATE, "seed", None, 1000) for i in range(20)] == resamples


def test_modified_models_are_tested_where_their_origin_is(members: tuple[Member, ...]) -> None:
    """A pruned copy of a training model is no new suspect; copies of the victim are always tested."""
    of_role = {"modified_victim": "victim", "modified_piracy": "piracy", "modified_homologous": "homologous"}
    with_modified = list(members)
    for role, origin in of_role.items():
        for member in [m for m in members if m.role == origin]:
            once = replace(member.spec, origin=Modified(member.spec, Prune(0.3)))
            twice = replace(once, origin=Modified(once, FineTune()))
            with_modified += [Member(Role(role), once), Member(Role(role), twice)]
    before = make_resample(members, 0, N_TRAIN, N_CALIBRATE, "seed")
    resample = make_resample(with_modified, 0, N_TRAIN, N_CALIBRATE, "seed")
    assert (resample.training, resample.calibration) == (before.training, before.calibration)
    tested = {members[row].spec.id for row in before.test}
    for role, origin in of_role.items():
        roots = [with_modified[row].spec.root.id for row in resample.tested(with_modified, role)]
        assert set(roots) == {
            m.spec.id for m in members if m.role == origin and (m.spec.id in tested or m is members[0])
        }
        assert len(roots) == 2 * len(set(roots)) > 0
    assert roles(resample.test, with_modified) - roles(before.test, members) == roles(
        resample.tested(with_modified, *of_role), with_modified
    )


def test_too_few_that_may_train_are_refused(members: tuple[Member, ...]) -> None:
    """In one line that says which may."""
    with pytest.raises(UserError, match=r"architecture B, first all of each\), got 3 and"):
        make_resample(members, 0, N_TRAIN, N_CALIBRATE, "seed", only_architecture="B")
    with pytest.raises(UserError, match=r"architecture any, first 4 of each\), got 4 and 4"):
        make_resample(members, 0, N_TRAIN, N_CALIBRATE, "seed", train_pool=4)


def test_too_few_models_are_refused(members: tuple[Member, ...]) -> None:
    """In one line with both numbers."""
    with pytest.raises(UserError, match=r"n_train = 12 .* 12 and 29"):
        make_resample(members, 0, 12, N_CALIBRATE, "seed")


def test_pairs_left_out_are_out_and_nobody_else_is() -> None:
    """Each training model is left out once, models stolen from the other victim too."""
    training = TrainingSet((1, 2, 3), (4, 5, 6), (7, 8, 9, 10))
    folds = leave_some_out(training)
    assert [out for _, out in folds] == [
        TrainingSet((1,), (4,), (7, 10)),
        TrainingSet((2,), (5,), (8,)),
        TrainingSet((3,), (6,), (9,)),
    ]
    for stay, out in folds:
        for group in ("piracy", "homologous", "other_victim"):
            kept, gone, all_of_them = (getattr(part, group) for part in (stay, out, training))
            assert not {*kept} & {*gone}
            assert {*kept} | {*gone} == {*all_of_them}
