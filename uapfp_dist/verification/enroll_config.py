"""What a kit must decide, and the configuration that follows from it."""

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, ExtractionConfig, FormatOption, VerdictConfig
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import wire_form, wire_names

ROLES = {"homologous": "homologous", "same_data": "same_data", "other_victim": "calibration_piracy"}
"""Group of innocents to its role in a plan."""


@wire_names(
    "EnrollConfig",
    "alpha max_suspects groups attacks labels formats n_errors n_train n_train_piracy n_test n_test_piracy",
    labels=lambda labels: [fmt.extraction_wire for fmt in labels],
    formats=lambda formats: [fmt.wire for fmt in formats],
)
@dataclass(frozen=True)
class EnrollConfig:
    """What the kit must decide, and the models that it takes."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    max_suspects: int = 1
    """Suspects that may be judged at once: each group of innocents has ceil(max_suspects / alpha) - 1 models."""
    groups: tuple[str, ...] = tuple(ROLES)
    """Innocents to calibrate against: homologous, same_data (trained on exactly the victim's images), other_victim
    (stolen from another victim each). What is left out is not covered, and the kit says so."""
    attacks: tuple[str, ...] = ("cloudleak", "jacobian", "knockoff")
    """Extraction attacks that stolen models come from."""
    labels: tuple[FormatOption, ...] = (LABEL, PROBABILITIES)
    """What victims give away to extractions: label, probabilities, top3 (any number)."""
    formats: tuple[FormatOption, ...] = (PROBABILITIES, ResponseFormat(3), LABEL)
    """What suspects may be judged by: probabilities, top3 (any number), label; labels always."""
    n_errors: int = 100
    """Natural errors and lowest margins that a suspect is asked, chosen among fingerprint.max_natural."""
    n_train: int = 8
    """Innocents of each group that train the scorers."""
    n_train_piracy: int = 3
    """Stolen models of each attack and kind of labels that train them."""
    n_test: int = 4
    """Innocents of each group that measure false accusation; they stand in for calibration models that fail."""
    n_test_piracy: int = 4
    """Stolen models of each attack and kind of labels that measure power."""

    @property
    def n_calibrate(self) -> int:
        """Calibration models per group."""
        return needed_for(self.alpha / self.max_suspects)

    @property
    def extraction_variants(self) -> tuple[tuple[str, ResponseFormat], ...]:
        """(attack, labels) of stolen models."""
        return tuple(product(self.attacks, self.labels))


def enroll_preset(name: str) -> Config:
    """A preset of the evaluation; digits cut so that a victim makes errors, without which little tells it apart.

    Raises:
        UserError: unknown; lists the known ones.
    """
    config = preset(name)
    if name != "digits":
        return config
    return replace(
        config,
        data=replace(config.data, train_share=0.3, outside_shares=(0.8, 0.05, 0.15)),
        zoo=replace(config.zoo, epochs=40.0),
        extraction=ExtractionConfig(budget=4.0, natural_share=0.25, rounds=5),
    )


def configuration(config: Config, wanted: EnrollConfig) -> dict[str, Any]:
    """What a kit says that it was made with; `config` as `sized` gives it."""
    return wire_form(config) | {"enroll": wire_form(wanted)}


def with_model_counts(config: Config, wanted: EnrollConfig, share: float = 1.0) -> Config:
    """`config` with the numbers of models that `wanted` takes, and images in 8 bits.

    Args:
        config: as it was chosen.
        wanted: what the kit must decide.
        share: images that the victim was trained on, of those that it would be trained on by `config`.
    """
    n_group = wanted.n_train + wanted.n_calibrate + wanted.n_test
    zoo = config.zoo
    return replace(
        config,
        zoo=replace(
            zoo,
            architectures=tuple(dict.fromkeys((zoo.victim_architecture, *zoo.architectures))),
            epochs=zoo.epochs * share,
            n_piracy=len(wanted.extraction_variants) * (wanted.n_train_piracy + wanted.n_test_piracy),
            n_soft_piracy=0,
            n_homologous=n_group,
            n_same_data=n_group if "same_data" in wanted.groups else 0,
            n_other_piracy=(),
            n_calibration_piracy=n_group if "other_victim" in wanted.groups else 0,
        ),
        extraction=replace(config.extraction, attacks=wanted.attacks, budget=config.extraction.budget * share),
        uap=replace(config.uap, round_to_8_bits=True, references=False),
        fingerprint=replace(config.fingerprint, n_natural=max(wanted.n_errors, config.fingerprint.max_natural)),
        verdict=VerdictConfig(
            alpha=wanted.alpha, n_train=1, n_calibrate=wanted.n_calibrate, formats=wanted.formats, n_resamples=1
        ),
    )


def _check(wanted: EnrollConfig) -> None:
    if not 0.0 < wanted.alpha <= 0.5:
        raise UserError(f"alpha: expected a rate above 0 and up to 0.5, got {wanted.alpha:g}")
    if not 1 <= wanted.max_suspects <= 1000:
        raise UserError(f"max-suspects: expected 1 to 1000, got {wanted.max_suspects}")
    for kind, names, table in (("group", wanted.groups, ROLES), ("attack", wanted.attacks, ATTACKS)):
        if not names or len(set(names)) < len(names):
            raise UserError(
                f"{kind}s: expected at least one, each once, got {names}; known: {', '.join(sorted(table))}"
            )
        for name in names:
            if name not in table:
                raise unknown_name(kind, name, table)
    if not wanted.labels or len(set(wanted.labels)) < len(wanted.labels):
        raise UserError(f"labels: expected at least one kind, each once, got {', '.join(map(str, wanted.labels))}")
    if LABEL not in wanted.formats:
        got = ", ".join(map(str, wanted.formats))
        raise UserError(f"formats: expected label among them, the least that any API gives away, got {got}")
    for name, least in (("n_errors", 1), ("n_train", 2), ("n_train_piracy", 1), ("n_test", 0), ("n_test_piracy", 0)):
        if not least <= (value := getattr(wanted, name)) <= 10_000:
            raise UserError(f"{name}: expected {least} to 10000, got {value}")
    if math.prod((wanted.n_train_piracy, len(wanted.extraction_variants))) < 2:
        raise UserError("n_train_piracy: expected at least two stolen models to learn from, got one; raise it")
