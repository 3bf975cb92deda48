"""Weights of churn points are those of gradient descent on the training models."""

import numpy as np
import pytest
import torch
from torch import Tensor

from uapfp_dist.fingerprints.churn_weights import RIDGE, Candidates, fit_churn_weights
from uapfp_dist.rng import torch_rng


def slow_ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge logistic regression by gradient descent: C times the weighted loss plus half the squared weights."""
    share = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum()))
    sign, w, b = 2.0 * y - 1.0, np.zeros(x.shape[1]), 0.0
    rate = 1.0 / (1.0 + RIDGE * (share[:, None] * x**2).sum() / 4)
    for _ in range(200_000):
        pull = RIDGE * share * sign / (1 + np.exp(sign * (x @ w + b)))
        step_w, step_b = w - x.T @ pull, -pull.sum()
        w, b = w - rate * step_w / 2, b - 2 / (RIDGE * share.sum()) * step_b
        if max(np.abs(step_w).max(), abs(step_b)) < 1e-10:
            break
    return w, b


def agreements(n_models: int = 20, n_points: int = 40) -> Tensor:
    """(M, E): the first half agrees more, on some points much more."""
    rng = torch_rng("agreements")
    likely = torch.rand(n_points, generator=rng) * 0.5
    lift = torch.rand(n_points, generator=rng) * 0.5
    stolen = torch.arange(n_models) < n_models // 2
    return torch.rand(n_models, n_points, generator=rng) < likely + lift * stolen[:, None]


ALL = Candidates(torch.arange(40), 1)
STOLEN, NEGATIVES = (0, 1, 2, 3), (10, 11, 12, 13, 14, 15, 16)


@pytest.mark.parametrize("n_points", [5, 40, 100])
def test_weights_are_those_of_gradient_descent(n_points: int) -> None:
    """On all points, then on those of largest weight alone."""
    agree = agreements()
    x, y = agree[[*STOLEN, *NEGATIVES]].double().numpy() - 0.5, np.array([1] * 4 + [0] * 7)
    weights, intercept = slow_ridge(x, y)
    kept = np.sort(np.argsort(-weights, kind="stable")[:n_points])
    if n_points < 40:
        weights, intercept = slow_ridge(x[:, kept], y)
    fitted = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, n_points)
    assert sorted(fitted.index.tolist()) == kept.tolist()
    by_point = dict(zip(fitted.index.tolist(), fitted.weights.tolist(), strict=True))
    np.testing.assert_allclose([by_point[i] for i in kept.tolist()], weights, atol=1e-4)
    assert fitted.intercept == pytest.approx(intercept, abs=1e-3)
    for row in range(20):
        value = intercept + sum(weights[j] * (float(agree[row, i]) - 0.5) for j, i in enumerate(kept.tolist()))
        assert float(fitted.scores(agree)[row]) == pytest.approx(value, abs=2e-3)


def test_weights_know_the_training_models_alone_and_weigh_both_classes_alike() -> None:
    agree = agreements()
    fitted = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, 10)
    others = agree.clone()
    others[[7, 8, 19]] = ~others[[7, 8, 19]]
    again = fit_churn_weights(others, STOLEN, NEGATIVES, ALL, 10)
    assert torch.equal(again.index, fitted.index)
    assert torch.equal(again.weights, fitted.weights)
    trained = fitted.scores(agree)
    assert float(trained[list(STOLEN)].min()) > float(trained[list(NEGATIVES)].max())
    # Unlike the loss of one model, that of a class does not grow with its numbers: no class is the safe guess.
    doubled = fit_churn_weights(agree, STOLEN, (*NEGATIVES, *NEGATIVES), ALL, 40)
    single = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, 40)
    assert abs(float(doubled.scores(agree).mean() - single.scores(agree).mean())) < 0.3
