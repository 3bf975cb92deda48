"""Refuse a configuration that cannot work, before any work is done."""

from collections.abc import Collection
from itertools import pairwise
from operator import attrgetter
from typing import Any

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.attacks.knockoff import Knockoff
from uapfp_dist.config.schema import Config
from uapfp_dist.data import DATASETS
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.methods.registry import METHODS, REFERENCE_TWIN_METHODS, SIBLING_METHODS, TWIN_METHODS
from uapfp_dist.fingerprints.sibling_test import siblings_needed
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.models.training import PEAK_RATES
from uapfp_dist.tasks.method_configs import ChurnConfig, EncoderConfig, UapConfig

NAMES: dict[str, tuple[str, Collection[str]]] = {
    "data.name": ("data set", DATASETS),
    "zoo.victim_architecture": ("architecture", ARCHITECTURES),
    "zoo.architectures": ("architecture", ARCHITECTURES),
    "zoo.optimizers": ("optimizer", PEAK_RATES),
    "extraction.attacks": ("attack", ATTACKS),
    "extraction.knockoff_pool": ("data set", DATASETS),
    "controls.architectures": ("architecture", ARCHITECTURES),
    "verdict.methods": ("method", METHODS),
    "verdict.decided_by": ("method", METHODS),
    "modifications.distill_to": ("architecture", ARCHITECTURES),
}
"""Field to what its names are of, and the table that holds them."""

CHOICES = {
    "modifications.fine_tune": ("all", "last", "new_last"),
    "modifications.adversarial_labels": ("own", "true"),
}
"""Field to what each of its values may be."""

NOT_EMPTY = (
    "zoo.architectures",
    "zoo.optimizers",
    "extraction.attacks",
    "uap.xi_grid",
    "uap.xi_fractions",
    "verdict.formats",
)

RANGES: dict[str, tuple[float, float]] = {
    "verdict.alpha": (1e-6, 0.5),
    "verdict.n_resamples": (1, 10_000),
    "verdict.n_train": (1, 10_000),
    "verdict.n_calibrate": (1, 100_000),
    "verdict.query_budget": (1, 10**6),
    "zoo.width": (1, 4096),
    "zoo.epochs": (1e-3, 1e6),
    "zoo.rate_scale": (1e-6, 1e3),
    "zoo.attempts": (1, 100),
    "zoo.homologous_margin": (0.0, 1.0),
    "zoo.piracy_margin": (0.0, 1.0),
    "zoo.n_soft_piracy": (0, 100_000),
    "zoo.n_same_data": (0, 100_000),
    "zoo.n_calibration_piracy": (0, 100_000),
    "zoo.n_other_piracy": (0, 100_000),
    "zoo.overlap": (0.0, 1.0),
    "extraction.budget": (1e-3, 1e3),
    "extraction.natural_share": (0.01, 1.0),
    "extraction.overlap": (0.0, 1.0),
    "data.train_share": (0.05, 0.95),
    "data.outside_shares": (0.0, 1.0),
    "data.n_classes": (2, 100_000),
    "uap.xi_grid": (1e-6, 1e6),
    "uap.xi_fractions": (1e-3, 0.999),  # the whole radius is the paper's own UAP
    "uap.target_fooling": (1e-3, 1.0),
    "uap.n_uaps": (1, 1000),
    "uap.n_images": (1, 10**9),
    "uap.passes": (1, 10**6),
    "uap.jpeg_quality": (1, 100),
    "encoder.hidden": (1, 10**6),
    "encoder.embedding": (1, 10**6),
    "encoder.epochs": (1, 10**6),
    "encoder.batch_size": (1, 10**6),
    "encoder.span": (1, 10**6),
    "encoder.tau": (0.02, 100.0),
    "encoder.learning_rate": (1e-8, 10.0),
    "siblings.n_committee": (0, 1000),
    "siblings.n_piracy": (0, 100_000),
    "siblings.gate": (0.0, 1.0),
    "siblings.repeated": (1e-3, 1.0),
    "controls.n_other_architecture": (0, 100_000),
    "controls.n_mixed": (0, 100_000),
    "controls.true_shares": (0.0, 0.999),
    "churn.pool_size": (1, 10**9),
    "churn.max_variants": (0, 10_000),
    "churn.rotation": (0.0, 180.0),
    "churn.shift": (0.0, 0.5),
    "churn.zoom": (0.0, 0.5),
    "churn.largest_share": (0.0, 0.99),
    "churn.candidates_per_image": (1, 10_000),
    "churn.per_image": (1, 10_000),
    "churn.n_points": (1, 10**6),
    "churn.max_points": (1, 10**6),
    "churn.budgets": (1, 10**6),
    "churn.jpeg_quality": (1, 100),
    "fingerprint.n_natural": (1, 10**6),
    "fingerprint.max_natural": (1, 10**6),
    "fingerprint.n_points": (2, 10**6),
    "fingerprint.n_views": (2, 10**6),
    "modifications.fine_tune_epochs": (1e-3, 1e4),
    "modifications.recovery_epochs": (0.0, 1e4),
    "modifications.prune": (1e-6, 1.0 - 1e-6),
    "modifications.n_adversarial": (0, 100_000),
    "modifications.adversarial_iterations": (1, 10**6),
    "modifications.adversarial_every": (1, 10**6),
    "removal.label_noise": (0.0, 1.0),
    "removal.label_smoothing": (0.0, 0.999),
    "removal.pgd_radii": (1e-6, 1.0),
    "removal.pgd_iterations": (1, 10**6),
    "removal.n_guessing": (0, 100),
    "removal.guessing_epochs": (1e-3, 1e4),
    "studies.subspace.n_uaps": (1, 10**6),
    "studies.subspace.n_images": (1, 10**6),
    "studies.subspace.passes": (1, 10**6),
    "studies.subspace.xi": (1e-6, 1e6),
    "studies.subspace.start": (1e-6, 1.0),
    "studies.subspace.largest_cosine": (0.0, 1.0),
    "studies.n_resamples": (1, 10_000),
    "studies.n_points": (2, 10**6),
    "studies.top_k": (1, 10**6),
    "studies.n_views": (2, 10**6),
    "studies.overlaps": (0.0, 1.0),
}
"""Field to the least and the largest number that it, or each of its numbers, may be."""


def check(config: Config) -> None:
    """Refuse what cannot work before any work is done.

    Raises:
        UserError: an unknown name or a number out of range, with what was expected.
    """
    _check_names(config)
    for path, limits in (RANGES | _dependent_ranges(config)).items():
        _check_range(path, _values(config, path), limits)
    if config.removal.n_guessing == 1:
        raise UserError(
            "removal.n_guessing: expected 0, or at least 2 models for a majority, got 1; raise it",
            argument="removal.n_guessing",
        )
    _ = config.data.shape  # raises where it is none
    _check_knockoff_pool(config)
    _check_siblings(config)
    _check_errors(config)
    levels = config.studies.recoveries
    if any(a >= b for a, b in pairwise(levels)) or not all(0 < level <= 2 for level in levels):
        raise UserError(
            f"studies.recoveries: expected ascending rates above 0, got {levels}", argument="studies.recoveries"
        )


def check_evaluation(config: Config) -> None:
    """`check`, and what an evaluation alone must keep: one that calibrated with fewer than asked for would not say so.

    Raises:
        UserError: as `check`, or more calibration models than there are.
    """
    check(config)
    n_homologous, verdict = config.zoo.n_homologous, config.verdict
    most = n_homologous - verdict.n_train - 1
    if verdict.n_calibrate > most:
        raise UserError(
            f"verdict.n_calibrate: expected at most {most}, as of zoo.n_homologous {n_homologous} independent models "
            f"{verdict.n_train} train and one is tested, got {verdict.n_calibrate}; lower it or raise zoo.n_homologous",
            argument="verdict.n_calibrate",
        )


def _check_names(config: Config) -> None:
    """There are some, and each is known."""
    for path in NOT_EMPTY:
        _check_not_empty(path, attrgetter(path)(config))
    for path, (kind, table) in NAMES.items():
        for name in _values(config, path):
            if name not in table:
                raise unknown_name(kind, name, table, argument=path)
    for path, choices in CHOICES.items():
        for value in _values(config, path):
            if value not in choices:
                raise UserError(f"{path}: expected some of {', '.join(choices)}, got {value!r}", argument=path)


def _dependent_ranges(config: Config) -> dict[str, tuple[float, float]]:
    """As `RANGES`, of fields whose limits other fields set."""
    zoo, fingerprint, n_train = config.zoo, config.fingerprint, config.verdict.n_train
    return {
        "zoo.n_piracy": (n_train + 1, 100_000),
        "zoo.n_homologous": (n_train + 2, 100_000),
        "verdict.train_pool": (n_train, 100_000),
        "extraction.rounds": (0 if config.extraction.natural_share == 1.0 else 1, 1000),
        "fingerprint.n_test_views": (2, fingerprint.n_views),
        "fingerprint.n_candidates": (max(fingerprint.n_points, fingerprint.n_views), 10**9),
        "modifications.n_piracy": (0, zoo.n_piracy),
        "modifications.n_homologous": (0, zoo.n_homologous),
        "removal.n_piracy": (0, zoo.n_piracy),
        "removal.n_homologous": (0, zoo.n_homologous),
        "studies.n_subspace": (0, min(zoo.n_piracy, zoo.n_homologous)),
        "studies.n_trajectories": (0, zoo.n_piracy),
        "controls.n_second_hand": (0, zoo.n_piracy),
        "studies.n_overlap": (0, zoo.n_homologous),
    }


def check_section(name: str, section: UapConfig | EncoderConfig | ChurnConfig) -> None:
    """`check` of one section of a configuration alone.

    Args:
        name: of the section, as in `Config`.
        section: what stands there.

    Raises:
        UserError: a number out of range, or none where some are needed.
    """
    for path in NOT_EMPTY:
        of, _, field = path.rpartition(".")
        if of == name:
            _check_not_empty(path, getattr(section, field))
    for path, limits in RANGES.items():
        of, _, field = path.rpartition(".")
        if of == name:
            _check_range(path, _values(section, field), limits)


def _check_not_empty(path: str, value: Any) -> None:
    if not value:
        kind, table = NAMES.get(path, ("value", {}))
        known = f"; known: {', '.join(sorted(table))}" if table else ""
        raise UserError(f"{path}: expected at least one {kind}, got none{known}", argument=path)


def _check_range(path: str, values: tuple[Any, ...], limits: tuple[float, float]) -> None:
    low, high = limits
    for value in values:
        if not low <= value <= high:
            raise UserError(f"{path}: expected a number from {low:g} to {high:g}, got {value:g}", argument=path)


def _check_knockoff_pool(config: Config) -> None:
    extraction, path = config.extraction, "extraction.knockoff_pool"
    if (pool := extraction.knockoff_pool) is None:
        return
    if Knockoff.name not in extraction.attacks:
        raise UserError(
            f"{path}: expected {Knockoff.name} among the attacks with {pool}, got {', '.join(extraction.attacks)}; add "
            "it to extraction.attacks, or leave the pool out",
            argument=path,
        )
    if pool == config.data.name:
        raise UserError(
            f"{path}: expected another data set than the victim's, got {pool}; leave it out: knockoff sends images of "
            "the victim's kind by itself",
            argument=path,
        )
    if extraction.overlap:
        raise UserError(
            f"extraction.overlap: expected 0 with {path}, none of whose images are the victim's, got "
            f"{extraction.overlap:g}; leave one of them out",
            argument="extraction.overlap",
        )


def _check_errors(config: Config) -> None:
    fingerprint, path = config.fingerprint, "fingerprint.n_natural"
    if fingerprint.n_natural > fingerprint.max_natural:
        raise UserError(
            f"{path}: expected at most fingerprint.max_natural, {fingerprint.max_natural}, from which they are taken, "
            f"got {fingerprint.n_natural}; lower it, or raise max_natural",
            argument=path,
        )


def _check_siblings(config: Config) -> None:
    siblings = config.siblings
    if siblings.n_committee == 1 or (siblings.n_piracy and not siblings.n_committee):
        raise UserError(
            f"siblings.n_committee: expected 0 without sibling piracy, or at least 2, got {siblings.n_committee} with "
            f"{siblings.n_piracy} models of sibling piracy; give more",
            argument="siblings.n_committee",
        )
    verdict = config.verdict
    n_siblings, needed = siblings.n_committee + siblings.n_piracy, siblings_needed(verdict.alpha)
    if siblings.exact and n_siblings < needed:
        raise UserError(
            f"siblings.exact: expected at least {needed} siblings for alpha {verdict.alpha:g} (n_committee and "
            f"n_piracy), got {n_siblings}; give more",
            argument="siblings.exact",
        )
    with_siblings = SIBLING_METHODS | TWIN_METHODS | REFERENCE_TWIN_METHODS
    needing = [name for name in (*verdict.methods, verdict.decided_by) if name in with_siblings]
    if needing and not siblings.n_committee:
        raise UserError(
            f"siblings.n_committee: expected siblings for {needing[0]}, got none; give some, or leave the method out",
            argument="siblings.n_committee",
        )


def _values(config: object, path: str) -> tuple[Any, ...]:
    """What a field holds: one value, several, or none where it is None."""
    value = attrgetter(path)(config)
    return value if isinstance(value, tuple) else () if value is None else (value,)
