"""Refuse a configuration that cannot work, before any work is done."""

from collections.abc import Mapping
from itertools import pairwise

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.config.schema import Config, ModificationConfig, StudyConfig, ZooConfig
from uapfp_dist.data import DATASETS
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.models.training import PEAK_RATES


def check(config: Config) -> None:
    """Refuse what cannot work before any work is done.

    Raises:
        UserError: an unknown name or a number out of range, with what was expected.
    """
    zoo, fingerprint, verdict = config.zoo, config.fingerprint, config.verdict
    _names("data set", (config.data.name,), DATASETS)
    _names("architecture", zoo.architectures, ARCHITECTURES)
    _names("architecture", (zoo.victim_architecture,), ARCHITECTURES)
    _names("optimizer", zoo.optimizers, PEAK_RATES)
    _names("attack", config.extraction.attacks, ATTACKS)
    _names("method", (*verdict.methods, verdict.decided_by), METHODS)
    _within("alpha", verdict.alpha, 1e-6, 0.5)
    _within("n_draws", verdict.n_draws, 1, 10_000)
    _within("n_train", verdict.n_train, 1, 10_000)
    _within("n_piracy", zoo.n_piracy, verdict.n_train + 1, 100_000)
    _within("n_homologous", zoo.n_homologous, verdict.n_train + 2, 100_000)
    _within("width", zoo.width, 1, 4096)
    _within("epochs", zoo.epochs, 1e-3, 1e6)
    _within("attempts", zoo.attempts, 1, 100)
    _within("budget", config.extraction.budget, 1e-3, 1e3)
    _within("natural_share", config.extraction.natural_share, 0.01, 1.0)
    _within("train_share", config.data.train_share, 0.05, 0.95)
    _within("rounds", config.extraction.rounds, 0 if config.extraction.natural_share == 1.0 else 1, 1000)
    _within("number of radii in xi_grid", len(config.uap.xi_grid), 1, 1000)
    _within("number of xi_fractions", len(config.uap.xi_fractions), 1, 100)
    _within("n_uaps", config.uap.n_uaps, 1, 1000)
    for radius in config.uap.xi_grid:
        _within("xi_grid", radius, 1e-6, 1e6)
    _within("n_images", config.uap.n_images, 1, 10**9)
    _within("passes", config.uap.passes, 1, 10**6)
    for name in ("hidden", "embedding", "epochs", "batch_size", "span"):
        _within(f"encoder {name}", getattr(config.encoder, name), 1, 10**6)
    for name in ("n_soft_piracy", "n_same_data", "n_calibration_piracy"):
        _within(name, getattr(zoo, name), 0, 100_000)
    for n in zoo.n_other_piracy:
        _within("n_other_piracy", n, 0, 100_000)
    _within("n_calibrate", verdict.n_calibrate, 1, 100_000)
    _within("n_natural", fingerprint.n_natural, 1, 10**6)
    _within("tau", config.encoder.tau, 0.02, 100.0)
    _within("n_points", fingerprint.n_points, 2, 10**6)
    _within("n_views", fingerprint.n_views, 2, 10**6)
    _within("n_test_views", fingerprint.n_test_views, 2, fingerprint.n_views)
    if fingerprint.n_candidates is not None:
        _within("n_candidates", fingerprint.n_candidates, max(fingerprint.n_points, fingerprint.n_views), 10**9)
    if zoo.overlap is not None:
        _within("overlap", zoo.overlap, 0.0, 1.0)
    for fraction in config.uap.xi_fractions:  # the whole radius is the paper's own UAP
        _within("xi_fractions", fraction, 1e-3, 0.999)
    _check_verdict(config)
    _check_modifications(config.modifications, zoo)
    _check_studies(config.studies, zoo)


def _check_verdict(config: Config) -> None:
    verdict = config.verdict
    if not verdict.formats:
        raise UserError("formats: expected at least one of probabilities, top3 (any number), label, got none")
    _within("overlap", config.extraction.overlap, 0.0, 1.0)
    _within("query_budget", verdict.query_budget, 1, 10**6)
    if verdict.pool is not None:
        _within("pool", verdict.pool, verdict.n_train, 100_000)
    if config.data.n_classes is not None:
        _within("n_classes", config.data.n_classes, 2, 100_000)


def _check_modifications(config: ModificationConfig, zoo: ZooConfig) -> None:
    _within("modifications n_piracy", config.n_piracy, 0, zoo.n_piracy)
    _within("modifications n_homologous", config.n_homologous, 0, zoo.n_homologous)
    _within("fine_tune_epochs", config.fine_tune_epochs, 1e-3, 1e4)
    _within("recovery_epochs", config.recovery_epochs, 0.0, 1e4)
    for share in config.prune:
        _within("prune", share, 1e-6, 1.0 - 1e-6)
    _within("adversarial_iterations", config.adversarial_iterations, 1, 10**6)
    _within("adversarial_every", config.adversarial_every, 1, 10**6)
    _among("fine_tune", config.fine_tune, ("all", "last", "new_last"))
    _among("adversarial_labels", config.adversarial_labels, ("own", "true"))
    if config.distill_to is not None:
        _names("architecture", (config.distill_to,), ARCHITECTURES)


def _check_studies(config: StudyConfig, zoo: ZooConfig) -> None:
    _within("n_subspace", config.n_subspace, 0, min(zoo.n_piracy, zoo.n_homologous))
    _within("n_trajectories", config.n_trajectories, 0, zoo.n_piracy)
    _within("n_overlap", config.n_overlap, 0, zoo.n_homologous)
    for name in ("n_uaps", "n_images", "passes"):
        _within(f"subspace {name}", getattr(config.subspace, name), 1, 10**6)
    _within("subspace xi", config.subspace.xi, 1e-6, 1e6)
    _within("studies n_draws", config.n_draws, 1, 10_000)
    for name, low in (("n_points", 2), ("top_k", 1), ("n_views", 2)):
        for value in getattr(config, name):
            _within(f"studies {name}", value, low, 10**6)
    for overlap in config.overlaps:
        _within("overlaps", overlap, 0.0, 1.0)
    levels = config.recoveries
    if any(a >= b for a, b in pairwise(levels)) or not all(0 < r <= 2 for r in levels):
        raise UserError(f"recoveries: expected ascending rates above 0, got {levels}")


def _among(name: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise UserError(f"{name}: expected some of {', '.join(allowed)}, got {value!r}")


def _names(kind: str, names: tuple[str, ...], table: Mapping[str, object]) -> None:
    if not names:
        raise UserError(f"expected at least one {kind}, got none; known: {', '.join(sorted(table))}")
    for name in names:
        if name not in table:
            raise unknown_name(kind, name, table)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")
