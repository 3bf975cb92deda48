"""The span of fingerprints: orthonormal, strongest direction first, by whatever decomposition it is found."""

import pytest
import torch

from uapfp_dist.fingerprints.span import span_of, within_span
from uapfp_dist.rng import torch_rng


def test_the_span_of_long_fingerprints_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without an SVD of all fingerprints: orthonormal, the same directions in the same order, the same rank."""
    rng = torch_rng("long")
    strength = 10.0 ** -torch.arange(0, 3, 0.25)
    prints = (torch.randn(40, 12, generator=rng) * strength) @ torch.linalg.qr(torch.randn(90, 12, generator=rng)).Q.T
    exact = span_of(prints, 512)
    monkeypatch.setattr("uapfp_dist.fingerprints.span.LONG", 64)
    found = span_of(prints, 512)
    assert found.shape == exact.shape == (90, 12)
    torch.testing.assert_close(found.T @ found, torch.eye(12), rtol=0, atol=1e-5)
    torch.testing.assert_close((found * exact).sum(0).abs(), torch.ones(12), rtol=0, atol=1e-3)
    torch.testing.assert_close(span_of(prints, 5), found[:, :5], rtol=0, atol=1e-5)
    assert torch.equal(span_of(prints, 512), found)


@pytest.mark.parametrize(("weakest", "svds"), [(0.0, 1), (1.5, 0)])
def test_few_directions_of_many_are_the_same(weakest: float, svds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the matrix of products where none of them is weak, by the SVD else."""
    rng = torch_rng("many", weakest)
    strength = torch.cat([10.0 ** -torch.arange(0, 3, 0.3) + weakest, torch.zeros(30)])
    prints = torch.linalg.qr(torch.randn(60, 40, generator=rng)).Q * strength
    prints = prints @ torch.linalg.qr(torch.randn(40, 40, generator=rng)).Q
    _, _, exact = torch.linalg.svd(prints, full_matrices=False)
    calls, svd = [], torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a, **k: calls.append(1) or svd(*a, **k))
    found = span_of(prints, 8)
    assert len(calls) == svds
    torch.testing.assert_close(found.T @ found, torch.eye(8), rtol=0, atol=1e-5)
    torch.testing.assert_close((found * exact[:8].T).sum(0).abs(), torch.ones(8), rtol=0, atol=1e-3)


def test_span_is_orthonormal_and_holds_its_inputs() -> None:
    """As many directions as there are independent fingerprints, strongest first."""
    rng = torch_rng("span")
    prints = torch.randn(40, 5, generator=rng) @ torch.randn(5, 60, generator=rng)
    basis = span_of(prints, 512)
    assert basis.shape == (60, 5)
    torch.testing.assert_close(basis.T @ basis, torch.eye(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(prints @ basis @ basis.T, prints, rtol=1e-4, atol=1e-4)
    energy = (prints @ basis).square().sum(0)
    assert bool((energy[:-1] >= energy[1:]).all())
    assert torch.equal(span_of(prints, 3), basis[:, :3])


@pytest.mark.parametrize(("rows", "rank"), [(12, 30), (40, 30), (40, 8), (12, 8)])
def test_weights_within_a_span(rows: int, rank: int) -> None:
    """By whatever decomposition: what no row has is gone, the rest is as it was."""
    rng = torch_rng("span", rows, rank)
    coordinates = torch.randn(rows, rank, generator=rng) @ torch.randn(rank, 30, generator=rng)
    weights = torch.randn(30, 4, generator=rng)
    found = within_span(weights, coordinates, 512)
    torch.testing.assert_close(coordinates @ found, coordinates @ weights, rtol=1e-4, atol=1e-4)
    basis = span_of(coordinates, 512)
    torch.testing.assert_close(found, basis @ (basis.T @ weights), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        within_span(weights, coordinates, 3), (few := span_of(coordinates, 3)) @ (few.T @ weights), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shared", [0.5, 0.9, 0.99, 1.0])
def test_the_span_of_labels(shared: float) -> None:
    """One-hot labels on which few models differ lack most directions: LAPACK in single precision gives up on some."""
    rng = torch_rng("labels", shared)
    usual, own = torch.randint(0, 10, (60,), generator=rng), torch.randint(0, 10, (30, 60), generator=rng)
    models = torch.where(torch.rand(30, 60, generator=rng) < shared, usual, own)
    labels = models[torch.randint(0, 30, (700,), generator=rng)]
    prints = torch.nn.functional.one_hot(labels, 10).flatten(1).float()
    basis = span_of(prints, 64)
    energy = torch.linalg.eigvalsh(prints.double().T @ prints.double())
    rank = int((energy > 1e-8 * energy[-1]).sum())
    assert basis.shape == (600, rank)
    torch.testing.assert_close(basis.T @ basis, torch.eye(rank), rtol=0, atol=1e-4)
    torch.testing.assert_close(prints @ basis @ basis.T, prints, rtol=1e-4, atol=1e-3)
