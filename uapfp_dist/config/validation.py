"""Refuse a configuration that cannot work, before any work is done."""

from itertools import pairwise
from operator import attrgetter
from typing import Any

from uapfp_dist.attacks.knockoff import Knockoff
from uapfp_dist.config.limits import CHOICES, NAMES, NOT_EMPTY, RANGES
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.methods.registry import REFERENCE_TWIN_METHODS, SIBLING_METHODS, TWIN_METHODS
from uapfp_dist.fingerprints.sibling_test import siblings_needed
from uapfp_dist.tasks.method_configs import ChurnConfig, EncoderConfig, UapConfig


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
