"""UAP subspaces: many UAPs at once equal one at a time; Eq. 5 equals its double loop and measures what it says."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models import Net
from uapfp_dist.perturbations import subspace as module
from uapfp_dist.perturbations.subspace import (
    energies,
    inconsist,
    principal_directions,
    start_cosines,
    uap_matrix,
    uap_starts,
)
from uapfp_dist.perturbations.uap import fooling_rate, uap_sgd
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import SubspaceConfig

XI = 1.5


def config(n_uaps: int, passes: int = 2) -> SubspaceConfig:
    """As many UAPs and passes."""
    return SubspaceConfig(n_uaps=n_uaps, n_images=100, passes=passes, xi=0.25, start=1.0, largest_cosine=1.0)


def directions_around(axis: int, n: int, spread: float, *seed: object) -> Tensor:
    """(n, 12) unit vectors near one axis of the space, float64."""
    v = spread * torch.randn(n, 12, generator=torch_rng(*seed), dtype=torch.float64)
    v[:, axis] += 1.0
    return v / v.norm(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def uaps(victim: Net, own: Tensor) -> Tensor:
    """40 UAPs of the victim, fewer than the 64 pixels."""
    return uap_matrix(victim, own[:100], config(40), XI, torch_rng("uaps"))


def test_many_at_once_are_what_uap_sgd_gives_one_by_one(
    victim: Net, own: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same starts, images and orders; batches that are not full, and a last group of UAPs that is not either."""
    monkeypatch.setattr(module, "BATCH", 20)
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 60)
    net, images = copy.deepcopy(victim).double(), own[:90].double()
    together = uap_matrix(net, images, config(5), XI, torch_rng("uaps"))
    for row, one in zip(together, uap_starts(images, 5, torch_rng("uaps")), strict=True):
        start = one.start * XI
        alone = uap_sgd(net, images[one.subset], XI, 2, one.generator, start, batch_size=20).flatten()
        torch.testing.assert_close(row, alone / alone.norm())


def test_uaps_forget_their_start(victim: Net, own: Tensor) -> None:
    """Started small and fitted on while they have not; from the full norm, and no longer, they keep most of it."""
    starts = torch.cat([one.start for one in uap_starts(own[:100], 20, torch_rng("uaps"))])

    def cosines(settings: SubspaceConfig) -> Tensor:
        return start_cosines(uap_matrix(victim, own[:100], settings, XI, torch_rng("uaps")), starts)

    today = cosines(SubspaceConfig(n_uaps=20, n_images=100, passes=2))
    assert float(today.mean()) < 0.1
    assert float((today < 0.1).double().mean()) > 0.6  # of 64 dimensions random vectors have .12 by chance
    assert float(cosines(config(20)).mean()) > 0.2


def test_a_uap_that_has_forgotten_is_fitted_no_further(victim: Net, own: Tensor) -> None:
    """Those below the limit after the first passes are what they are without a limit."""
    small = SubspaceConfig(n_uaps=12, n_images=100, passes=5, start=0.1)
    first = uap_matrix(victim, own[:100], replace(small, largest_cosine=1.0), XI, torch_rng("uaps"))
    on = uap_matrix(victim, own[:100], small, XI, torch_rng("uaps"))
    starts = torch.cat([one.start for one in uap_starts(own[:100], 12, torch_rng("uaps"))])
    done = start_cosines(first, starts) < 0.1
    assert 0 < int(done.sum()) < 12
    torch.testing.assert_close(on[done], first[done])
    assert not bool(torch.isclose(on[~done], first[~done]).all(1).any())


def test_memory_bound_does_not_change_the_uaps(victim: Net, own: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One UAP per pass or all of them; and a longer matrix begins with the shorter one."""
    net, images = copy.deepcopy(victim).double(), own[:100].double()
    seven = uap_matrix(net, images, config(7), XI, torch_rng("uaps"))
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 1)
    torch.testing.assert_close(uap_matrix(net, images, config(3), XI, torch_rng("uaps")), seven[:3])


def test_draws_differ_in_start_images_and_order(own: Tensor) -> None:
    """Halves without repetition, unit starts in every direction, and nothing but the generator decides."""
    several = list(uap_starts(own[:41], 8, torch_rng("uaps")))
    again = list(uap_starts(own[:41], 8, torch_rng("uaps")))
    starts = torch.stack([one.start.flatten() for one in several])
    assert all(len(one.subset) == 20 == len(set(one.subset.tolist())) for one in several)
    assert len({tuple(sorted(one.subset.tolist())) for one in several}) == 8
    torch.testing.assert_close(starts.norm(dim=1), torch.ones(8))
    assert float((starts @ starts.T - torch.eye(8)).abs().max()) < 0.6
    for one, other in zip(several, again, strict=True):
        assert torch.equal(one.start, other.start)
        assert torch.equal(one.subset, other.subset)


def test_rows_have_unit_norm_fool_and_are_distinct_directions(victim: Net, held_out: Tensor, uaps: Tensor) -> None:
    """Scaled back to their radius they move labels; starts alone do not; no two are the same direction."""
    shape = (-1, *held_out.shape[1:])
    starts = torch.cat([one.start for one in uap_starts(held_out, 40, torch_rng("uaps"))])
    by_chance = sum(fooling_rate(victim, held_out, XI * v[None], clip=False) for v in starts) / 40
    fooling = sum(fooling_rate(victim, held_out, XI * v[None], clip=False) for v in uaps.view(shape)) / 40
    torch.testing.assert_close(uaps.norm(dim=1), torch.ones(40))
    assert fooling > by_chance + 0.2
    assert float((uaps @ uaps.T - torch.eye(40)).abs().max()) < 0.95
    assert len(principal_directions(uaps)) == 40


def test_same_generator_same_bits(victim: Net, own: Tensor) -> None:
    """And another one another matrix."""
    first, again, other = (uap_matrix(victim, own[:40], config(4, 1), XI, torch_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_image_has_no_half(victim: Net, own: Tensor) -> None:
    """One line with what was expected and what came."""
    with pytest.raises(UserError, match=r"at least 2 images.*got 1"):
        uap_matrix(victim, own[:1], config(2), XI, torch_rng(0))


def test_principal_directions_are_an_orthonormal_basis_of_the_uaps(uaps: Tensor) -> None:
    """Every UAP is the sum of its projections."""
    directions = principal_directions(uaps)
    identity = torch.eye(len(directions), dtype=torch.float64)
    torch.testing.assert_close(directions @ directions.T, identity)
    torch.testing.assert_close(uaps.double() @ directions.T @ directions, uaps.double())


def test_rank_counts_directions_not_uaps() -> None:
    """Three directions, each ten times with either sign, in the precision of UAPs."""
    three = torch.randn(3, 12, generator=torch_rng("three"))
    signs = torch.where(torch.rand(30, 1, generator=torch_rng("signs")) < 0.5, -1.0, 1.0)
    assert principal_directions(three.repeat(10, 1) * signs).shape == (3, 12)


def test_energies_of_the_uaps_themselves_are_their_spectrum(uaps: Tensor) -> None:
    """Squared singular values over their number, descending, summing to 1 for unit rows."""
    found = energies(uaps, principal_directions(uaps))
    torch.testing.assert_close(found, torch.linalg.svdvals(uaps.double()).square() / len(uaps))
    assert math.isclose(float(found.sum()), 1.0, rel_tol=1e-5)
    assert bool((found[:-1] >= found[1:] - 1e-9).all())


def test_inconsist_equals_the_double_loop_of_equation_5() -> None:
    """Sums over directions and UAPs as printed, energies divided by the number of UAPs of either."""
    victim, suspect = directions_around(0, 7, 0.3, "victim"), directions_around(3, 5, 0.5, "suspect")
    expected = 0.0
    for direction in principal_directions(victim).tolist():
        sums = []
        for uaps in (suspect.tolist(), victim.tolist()):
            dots = [sum(a * b for a, b in zip(v, direction, strict=True)) for v in uaps]
            sums.append(sum(dot * dot for dot in dots) / len(uaps))
        expected += (sums[0] - sums[1]) ** 2
    assert math.isclose(inconsist(suspect, victim), expected, rel_tol=1e-9)


def test_a_model_is_consistent_with_itself_whatever_the_signs_order_and_number() -> None:
    """UAPs have no sign and no order; having each of them twice changes nothing."""
    v = directions_around(0, 10, 0.3, "victim")
    other = -v.flip(0)
    other[::3] *= -1
    assert inconsist(v, v) == 0.0
    assert inconsist(other, v) < 1e-20
    assert inconsist(torch.cat([other, v]), v) < 1e-20
    assert inconsist(v, torch.cat([other, v])) < 1e-20


def test_inconsist_grows_with_the_distance_of_the_subspaces() -> None:
    """The same cloud of directions sampled again, a wider one, none at all, and the opposite extreme: 2."""
    victim = directions_around(0, 500, 0.1, "victim")
    again, wider = directions_around(0, 500, 0.1, "again"), directions_around(0, 500, 0.5, "wider")
    anywhere, elsewhere = directions_around(0, 500, 100.0, "anywhere"), directions_around(1, 500, 0.1, "elsewhere")
    grows = [inconsist(v, victim) for v in (again, wider, anywhere, elsewhere)]
    assert grows == sorted(grows)
    assert grows[0] < 0.01 < 0.1 < grows[1]
    one, other = torch.eye(12, dtype=torch.float64)[:2]
    assert math.isclose(inconsist(other[None], torch.cat([one.repeat(999, 1), other[None]])), 2.0, rel_tol=3e-3)


def test_uaps_of_a_net_are_nearer_to_themselves_than_random_directions(uaps: Tensor, victim: Net, own: Tensor) -> None:
    """A second matrix of the same net on other random choices, against directions that know nothing of it."""
    again = uap_matrix(victim, own[:100], config(40), XI, torch_rng("again"))
    anything = torch.randn(uaps.shape, generator=torch_rng("anything"))
    anything = anything / anything.norm(dim=1, keepdim=True)
    assert inconsist(again, uaps) < 0.5 * inconsist(anything, uaps)


def test_models_of_other_images_do_not_compare(uaps: Tensor) -> None:
    """Both dimensions are named."""
    with pytest.raises(UserError, match=r"dimension 64.*got 12"):
        inconsist(directions_around(0, 3, 0.1, "small"), uaps)
