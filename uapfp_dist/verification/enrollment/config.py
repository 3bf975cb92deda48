"""What is required of a kit."""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.config.schema import format_option
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import wire_names

MAX_MODELS = 100_000
"""Of a group, and stolen ones: as many as an evaluation may have."""
ROLES = {"homologous": "homologous", "same_data": "same_data", "other_victim": "calibration_piracy"}
"""Group of negatives to its role in a plan."""


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
    """Suspects that may be judged together: each group of negatives has ceil(max_suspects / alpha) - 1 models."""
    groups: tuple[str, ...] = tuple(ROLES)
    """Negatives to calibrate against: homologous, same_data (trained on exactly the victim's images), other_victim
    (stolen from another victim each). What is left out is not covered, and the kit says so."""
    attacks: tuple[str, ...] = ("cloudleak", "jacobian", "knockoff")
    """Extraction attacks that stolen models come from."""
    labels: tuple[Annotated[ResponseFormat, format_option("labels")], ...] = (LABEL, PROBABILITIES)
    """What victims give away to extractions: label, probabilities, top3 (any number)."""
    formats: tuple[Annotated[ResponseFormat, format_option("formats")], ...] = (
        PROBABILITIES,
        ResponseFormat(3),
        LABEL,
    )
    """What suspects may be judged by: probabilities, top3 (any number), label; labels always."""
    n_errors: int = 100
    """Natural errors and lowest margins that a suspect is queried with, chosen among fingerprint.max_natural."""
    n_train: int = 8
    """Negatives of each group that train the scorers."""
    n_train_piracy: int = 3
    """Stolen models of each attack and kind of labels that train them."""
    n_test: int = 4
    """Negatives of each group that measure false accusation; they stand in for calibration models that fail."""
    n_test_piracy: int = 4
    """Stolen models of each attack and kind of labels that measure power."""

    @property
    def n_calibrate(self) -> int:
        """Calibration models per group."""
        return needed_for(self.alpha / self.max_suspects)

    @property
    def n_group(self) -> int:
        """All models of a group."""
        return self.n_train + self.n_calibrate + self.n_test

    @property
    def n_stolen(self) -> int:
        """All stolen models."""
        return len(self.extraction_variants) * (self.n_train_piracy + self.n_test_piracy)

    @property
    def extraction_variants(self) -> tuple[tuple[str, ResponseFormat], ...]:
        """(attack, labels) of stolen models."""
        return tuple(product(self.attacks, self.labels))


def check_enroll_config(requirements: EnrollConfig) -> None:
    """Accept what can be enrolled.

    Raises:
        UserError: a number out of range, an unknown or repeated name, or too few stolen models.
    """
    if not 0.0 < requirements.alpha <= 0.5:
        raise UserError(f"alpha: expected a rate above 0 and up to 0.5, got {requirements.alpha:g}", argument="alpha")
    if not 1 <= requirements.max_suspects <= 1000:
        raise UserError(f"max_suspects: expected 1 to 1000, got {requirements.max_suspects}", argument="max_suspects")
    for kind, names, table in (("group", requirements.groups, ROLES), ("attack", requirements.attacks, ATTACKS)):
        if not names or len(set(names)) < len(names):
            raise UserError(
                f"{kind}s: expected at least one, each once, got {names}; known: {', '.join(sorted(table))}",
                argument=f"{kind}s",
            )
        for name in names:
            if name not in table:
                raise unknown_name(kind, name, table, argument=f"{kind}s")
    if not requirements.labels or len(set(requirements.labels)) < len(requirements.labels):
        got = ", ".join(map(str, requirements.labels)) or "none"
        raise UserError(f"labels: expected at least one kind, each once, got {got}", argument="labels")
    if LABEL not in requirements.formats:
        got = ", ".join(map(str, requirements.formats)) or "none"
        raise UserError(
            f"formats: expected label among them, the least that any API gives away, got {got}", argument="formats"
        )
    for name, least in (("n_errors", 1), ("n_train", 2), ("n_train_piracy", 1), ("n_test", 0), ("n_test_piracy", 0)):
        if not least <= (value := getattr(requirements, name)) <= 10_000:
            raise UserError(f"{name}: expected {least} to 10000, got {value}", argument=name)
    if requirements.n_group > MAX_MODELS:  # training and test models are far fewer
        raise UserError(
            f"alpha: expected a rate that {MAX_MODELS:,} models per group can decide at, {requirements.alpha:g} for "
            f"{requirements.max_suspects} suspects needs {requirements.n_group:,}; raise it",
            argument="alpha",
        )
    if requirements.n_stolen > MAX_MODELS:
        largest = max("n_train_piracy", "n_test_piracy", key=partial(getattr, requirements))
        raise UserError(
            f"{largest}: expected at most {MAX_MODELS:,} stolen models in all, got {requirements.n_stolen:,}; lower it",
            argument=largest,
        )
    if requirements.n_train_piracy * len(requirements.extraction_variants) < 2:
        raise UserError(
            "n_train_piracy: expected at least two stolen models to train on, got one; raise it",
            argument="n_train_piracy",
        )
