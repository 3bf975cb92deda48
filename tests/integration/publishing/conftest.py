"""A server that is away is noticed at once."""

import pytest


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away is noticed in a second rather than in twenty."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setattr("uapfp_dist.tracking.publication.PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("uapfp_dist.tracking.live.RETRY_SECONDS", 0.0)
