"""The exact sibling test: permutation of players, uniform p, and a broken variant that the check catches."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints import sibling_test as module
from uapfp_dist.fingerprints.pool import Pool, PoolLabels
from uapfp_dist.fingerprints.sibling_points import sibling_points
from uapfp_dist.fingerprints.sibling_test import (
    MISSING,
    Players,
    p_values,
    sibling_test,
    siblings_needed,
)
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.exact_fitting import EnrolledExact, exact_limits, fit_exact, rotated_power
from uapfp_dist.verification.kit.info import Accused

N_IMAGES, N_CLASSES = 600, 5
SMALL = SiblingTestConfig(n_points=20, n_candidates=120)


def runs(task: int, generator: torch.Generator, n: int, own: float = 0.3) -> Tensor:
    """(n, N) labels of runs of one recipe: a label for each image that follows from the task, and some of its own."""
    common = torch.randint(N_CLASSES, (N_IMAGES,), generator=torch.Generator().manual_seed(task))
    disagrees = torch.rand(n, N_IMAGES, generator=generator) < own
    return torch.where(disagrees, torch.randint(N_CLASSES, (n, N_IMAGES), generator=generator), common)


def stolen_from(labels: Tensor, generator: torch.Generator, n: int, loyal: float = 0.7) -> Tensor:
    """(n, N): each gives the label with probability `loyal`, else any."""
    anything = torch.randint(N_CLASSES, (n, N_IMAGES), generator=generator)
    return torch.where(torch.rand(n, N_IMAGES, generator=generator) < loyal, labels, anything)


def draw(seed: int, n_players: int = 20, n_stolen: int = 0) -> Players:
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    labels = runs(seed, generator, n_players)
    stolen = torch.stack([stolen_from(one, generator, n_stolen) for one in labels])
    margins = torch.rand(n_players, N_IMAGES, generator=generator)
    return Players(labels, margins, stolen, torch.arange(N_IMAGES) // 3)


@pytest.mark.parametrize("n_independent", [0, 12])
@pytest.mark.parametrize("n_stolen", [0, 3])
def test_permuting_the_players_permutes_the_statistics_bit_for_bit(n_stolen: int, n_independent: int) -> None:
    players = draw(0, 8, n_stolen)
    generator = torch.Generator().manual_seed(1)
    if n_independent:
        players = replace(players, independent=runs(0, generator, n_independent))
    suspects = torch.cat([stolen_from(players.labels[2], generator, 2), runs(0, generator, 2)])
    suspects[:, ::7] = MISSING
    found = sibling_test(players, SMALL).statistics(suspects)
    order = torch.randperm(8, generator=generator)
    permuted = replace(
        players, labels=players.labels[order], margins=players.margins[order], stolen=players.stolen[order]
    )
    assert torch.equal(sibling_test(permuted, SMALL).statistics(suspects), found[:, order])


@pytest.mark.parametrize("n_stolen", [0, 6])
def test_a_model_stolen_from_the_victim_is_told_from_one_stolen_from_a_sibling(n_stolen: int) -> None:
    players = draw(2, n_stolen=n_stolen)
    generator = torch.Generator().manual_seed(3)
    test = sibling_test(players, SMALL)
    thieves = torch.cat([stolen_from(players.labels[i], generator, 4) for i in (0, 7)])
    p = p_values(test.statistics(thieves))
    assert p[:4].tolist() == [0.05] * 4
    assert (p[4:] > 0.05).all()
    assert test.statistics(thieves)[4:].argmax(1).tolist() == [7] * 4


def drawn_p(
    groups: int, stolen_from_sibling: bool = False, scale_of_victim: float = 1.0, n_independent: int = 0
) -> Tensor:
    """(groups,) p of one underived suspect each, in groups of 1 + 19 players."""
    found = []
    for seed in range(groups):
        players = draw(1000 + seed)
        generator = torch.Generator().manual_seed(2_000_000 + seed)
        suspect = runs(1000 + seed, generator, 1, own=0.1)  # of the same data, by another recipe: it disagrees less
        if stolen_from_sibling:
            suspect = stolen_from(players.labels[5], generator, 1)
        if n_independent:
            players = replace(players, independent=runs(1000 + seed, generator, n_independent, own=0.1))
        test = sibling_test(players, SMALL)
        scales = torch.tensor([scale_of_victim, *[1.0] * 19], dtype=torch.float64)
        found.append(p_values(replace(test, scale=test.scale * scales).statistics(suspect)))
    return torch.cat(found)


GROUPS = 300


def is_exact(p: Tensor) -> bool:
    """Claims at .05 no more often than that, and p as often below a half as above, to two standard errors."""
    error = len(p) ** -0.5
    return float((p <= 0.05).double().mean()) <= 0.05 + 2 * (0.05 * 0.95) ** 0.5 * error and bool(
        abs(float((p <= 0.5).double().mean()) - 0.5) <= 2 * 0.5 * error + 0.02  # ties count against the victim
    )


def test_the_victim_is_claimed_at_most_at_alpha() -> None:
    assert is_exact(drawn_p(GROUPS))
    assert is_exact(drawn_p(GROUPS // 2, n_independent=12))
    assert drawn_p(40, stolen_from_sibling=True).min() > 0.05, "a model stolen from a sibling"


def test_a_player_that_independent_models_resemble_is_not_on_top_of_them_all() -> None:
    """Else all suspects of such a victim would be accused: errors of one victim hang together."""
    players = draw(6)
    generator = torch.Generator().manual_seed(7)
    ours = runs(6, generator, 24)
    alike = torch.rand(ours.shape, generator=generator) < 0.3
    ours = torch.where(alike, players.labels[3], ours)  # whatever it is that they share with that run
    known, suspects = ours[:12], ours[12:]
    accused = sibling_test(players, SMALL).statistics(suspects).argmax(1) == 3
    assert int(accused.sum()) > 8
    centred = sibling_test(replace(players, independent=known), SMALL)
    assert int((centred.statistics(suspects).argmax(1) == 3).sum()) < 6
    thieves = stolen_from(players.labels[3], generator, 4, loyal=0.95)
    assert centred.statistics(thieves).argmax(1).tolist() == [3] * 4


def test_a_rule_that_knows_the_victim_is_caught_by_this_check() -> None:
    assert not is_exact(drawn_p(GROUPS, scale_of_victim=0.2))


def test_points_chosen_by_the_victim_alone_are_caught_by_this_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """All players are then asked where the victim disagrees."""
    whole = module._disagreements_first

    def of_the_victim(players: Players, player: int, config: SiblingTestConfig) -> Tensor:
        return whole(players, 0, config)

    monkeypatch.setattr(module, "_disagreements_first", of_the_victim)
    assert not is_exact(drawn_p(GROUPS // 3))


def test_p_is_uniform_over_exchangeable_players() -> None:
    """Whoever of the players is called the victim: the ranks of one suspect are all of 1..P."""
    players = draw(4)
    statistics = sibling_test(players, SMALL).statistics(runs(4, torch.Generator().manual_seed(5), 1))
    ranks = [float(p_values(statistics.roll(-i, 1))) for i in range(20)]
    distinct = len(statistics.unique())
    assert len(set(ranks)) == distinct
    assert min(ranks) >= 0.05
    assert all(sum(p <= alpha + 1e-9 for p in ranks) / 20 <= alpha + 1e-9 for alpha in (0.05, 0.1, 0.25, 0.5))


def test_ties_count_against_the_victim() -> None:
    assert p_values(torch.tensor([[1.0, 1.0, 0.0, -1.0], [2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]])).tolist() == [
        0.5,
        0.25,
        1.0,
    ]


def test_a_missing_answer_agrees_with_nobody() -> None:
    players = draw(6, 5)
    test = sibling_test(players, SMALL)
    silent = test.statistics(torch.full((1, N_IMAGES), MISSING))
    torch.testing.assert_close(silent[0], -test.centre / test.scale)


def test_what_is_asked() -> None:
    players = draw(7, 6)
    test = sibling_test(players, SMALL)
    queries = test.images
    assert queries.tolist() == sorted(set(test.index.flatten().tolist()))
    for row in test.index:
        assert players.base[row].bincount().max() <= SMALL.per_image
    answers = players.labels[:1].clone()
    unread = torch.ones(N_IMAGES, dtype=torch.bool)
    unread[queries] = False
    answers[:, unread] = 0
    assert torch.equal(test.statistics(answers), test.statistics(players.labels[:1])), "only what is asked counts"


def test_a_set_that_is_short_is_filled_up_alike_for_all() -> None:
    """Hardly any disagreements: the images on which fewest other players agree follow."""
    generator = torch.Generator().manual_seed(8)
    players = draw(8, 6)
    players = replace(players, labels=runs(8, generator, 6, own=0.01))
    test = sibling_test(players, SMALL)
    assert test.index.shape == (6, 20)


@pytest.mark.parametrize(
    ("players", "config", "expected"),
    [
        (draw(0, 1), SMALL, "expected at least 1 for the exact test, got 0"),
        (draw(0, 4), replace(SMALL, n_points=401), "expected at most 400 images of a player"),
        (replace(draw(0, 3), labels=draw(0, 3).labels[[0, 1, 1]]), SMALL, "players 1 and 2 .* say the same"),
    ],
)
def test_what_cannot_be_tested_is_refused(players: Players, config: SiblingTestConfig, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as refused:
        sibling_test(players, config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("alpha", "suspects", "needed"), [(0.05, 1, 19), (0.05, 3, 59), (0.01, 1, 99), (0.3, 1, 3)])
def test_siblings_needed(alpha: float, suspects: int, needed: int) -> None:
    assert siblings_needed(alpha, suspects) == needed
    assert suspects / (1 + needed) <= alpha + 1e-9
    assert suspects / needed > alpha + 1e-9


def test_rotated_power_counts_every_player_as_the_victim() -> None:
    """Against a loop over players and thefts, each theft left out of what is learned."""
    players, alpha = draw(5, 6, 3), 0.34
    claimed = 0
    for theft in range(3):
        rest = [t for t in range(3) if t != theft]
        test = sibling_test(replace(players, stolen=players.stolen[:, rest]), SMALL)
        for i in range(6):
            scores = test.statistics(players.stolen[i, theft][None])[0].tolist()
            p = (1 + sum(scores[j] >= scores[i] for j in range(6) if j != i)) / 6
            claimed += p <= alpha
    found = rotated_power(players, [SMALL], alpha)
    assert found == [Accused(claimed, 18)]
    assert claimed > 9
    assert rotated_power(draw(5, 6, 1), [SMALL], alpha) == []
    fewer = replace(SMALL, n_points=3)
    both = rotated_power(players, [SMALL, fewer], alpha)
    assert both == [*found, *rotated_power(players, [fewer], alpha)]
    assert both[0] != both[1]


def test_a_kit_for_several_counts_what_its_exact_test_claims_of_a_first_suspect() -> None:
    """Of four suspects that nineteen siblings decide at alpha .2: p must be .05, a rank of 2 is no claim."""
    players = draw(5, 20, 2)
    generator = torch.Generator().manual_seed(9)
    measured = stolen_from(players.labels[0], generator, 30, loyal=0.1)
    independent = runs(5, generator, 30)
    pool = Pool(torch.zeros(N_IMAGES, 1, 2, 2, dtype=torch.uint8), players.base)
    enrolled = EnrolledExact(pool, players, measured, independent, ("0" * 64,) * 19)
    test, _ = fit_exact(enrolled, EnrollConfig(alpha=0.2, n_exact_points=20), 3)
    claimed = {}
    for n in (1, 4):
        said = fit_exact(enrolled, EnrollConfig(alpha=0.2, max_suspects=n, n_exact_points=20), 3)[1]
        claimed[n] = [said.power, said.accused]
        for rate, models in ((said.power, measured), (said.accused, independent)):
            assert rate == (int((n * p_values(test.statistics(models)) <= 0.2 + 1e-9).sum()), 30)
        limits = " ".join(exact_limits(said, n))
        assert ("from which it learned nothing, each corrected for 4 suspects." in limits) == (n == 4)
    assert all(four.n < alone.n for four, alone in zip(claimed[4], claimed[1], strict=True) if four and alone)


def test_a_single_sibling_has_no_spread_and_still_ranks() -> None:
    players = draw(8, 2)
    test = sibling_test(players, SMALL)
    assert bool(test.scale.isfinite().all())
    p = p_values(test.statistics(torch.cat([players.labels, players.labels[:1]])))
    assert p.tolist() == [0.5, 1.0, 0.5]


def test_fewer_images_are_the_first_of_each_player() -> None:
    """A budget reads a prefix of what was asked once: the test by so many images itself."""
    players = draw(9)
    pool = Pool(torch.zeros(N_IMAGES, 1, 1, 1, dtype=torch.uint8), players.base)
    said = [PoolLabels(labels, margins) for labels, margins in zip(players.labels, players.margins, strict=True)]
    points = sibling_points(pool, said, SMALL)
    suspects = runs(9, torch.Generator().manual_seed(1), 5)
    whole = sibling_test(players, replace(SMALL, n_points=7))
    images = sibling_test(players, SMALL).index.unique()
    torch.testing.assert_close(points.test(7).statistics(suspects[:, images]), whole.statistics(suspects))
    assert points.n_images(7) == len(whole.index.unique())
