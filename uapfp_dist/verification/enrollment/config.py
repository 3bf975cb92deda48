"""Requirements of a kit."""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.config.format_option import format_option
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.sibling_test import siblings_needed
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import omit_default, wire_names

MAX_MODELS = 100_000
"""Of a group, and stolen ones: as many as an evaluation may have."""
ROLES = {
    "homologous": "homologous",
    "same_data": "same_data",
    "other_victim": "calibration_piracy",
    "sibling": "sibling_piracy",
}
"""Group of negatives to its role in a plan."""


@wire_names(
    "EnrollConfig",
    "alpha max_suspects groups attacks labels formats n_errors n_train n_train_piracy n_test n_test_piracy size "
    "n_committee n_sets n_points calibration_factor exact exact_siblings n_exact_stolen n_exact_points "
    "jpeg_quality",
    labels=lambda labels: [fmt.extraction_wire for fmt in labels],
    formats=lambda formats: [fmt.wire for fmt in formats],
)
@dataclass(frozen=True)
class EnrollConfig:
    """What the kit must decide, and the models that this takes."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    max_suspects: int = 1
    """Suspects that the kit can ever decide about, at once or one after another. Each group of negatives calibrates
    with at least ceil(max_suspects / alpha) - 1 models."""
    groups: tuple[str, ...] = tuple(ROLES)
    """Negatives to calibrate against: homologous, same_data (trained on exactly the victim's images), other_victim
    (stolen from another victim each), sibling (stolen from a sibling of the victim each). What is left out is not
    covered, and the kit says so."""
    attacks: tuple[str, ...] = ("cloudleak", "jacobian", "knockoff")
    """Extraction attacks that stolen models come from."""
    labels: tuple[Annotated[ResponseFormat, format_option("labels")], ...] = (LABEL, PROBABILITIES)
    """Response formats of victims under extraction: label, probabilities, top3 (any number)."""
    formats: tuple[Annotated[ResponseFormat, format_option("formats")], ...] = (
        PROBABILITIES,
        ResponseFormat(3),
        LABEL,
    )
    """What suspects may be judged by: probabilities, top3 (any number), label; labels always."""
    n_errors: int = 100
    """Natural errors and lowest margins that a suspect is queried with, chosen among fingerprint.max_natural."""
    n_train: int = 16
    """Negatives of each group that train the scorers."""
    n_train_piracy: int = 6
    """Stolen models, for each attack and kind of labels, that train the scorers."""
    n_test: int = 4
    """Negatives of each group that measure false accusation. They stand in for calibration models that fail."""
    n_test_piracy: int = 4
    """Stolen models, for each attack and kind of labels, that measure power."""
    size: Literal["full", "light"] = omit_default("full", in_files=False)
    """light: nothing is stolen from the victim and no scorer is trained: it takes half of the models, decides by the
    plain share of churn points, and cannot say how much it catches."""
    n_committee: int = omit_default(10, in_files=False, before=0)
    """Siblings that the victim is compared with; 0: no churn."""
    n_sets: int = omit_default(3, in_files=False)
    """Disjoint sets of churn points: a set that an operator has seen is not sent to that operator again."""
    n_points: int = omit_default(400, in_files=False)
    """Churn points of each set."""
    calibration_factor: int = omit_default(2, in_files=False, before=1)
    """Calibration models of each group, in multiples of the fewest that allow a claim: with 1 a single negative that
    scores above a stolen model prevents the claim, with 2 it takes two of one group."""
    exact: Literal["none", "beside", "claims"] = omit_default("none", in_files=False)
    """The exact sibling test, which assumes nothing of suspects. beside: verify with exact shows its p-value without a
    claim. claims: it makes the claim, and the conformal p-value is shown without one. It needs n_sets 1."""
    exact_siblings: int | None = omit_default(None, in_files=False)
    """Siblings with which it ranks the victim (default: the fewest that can decide, ceil(max_suspects / alpha) - 1)."""
    n_exact_stolen: int = omit_default(6, in_files=False)
    """Models stolen from each player (the victim and those siblings), which train its scores; 0, as in a light kit:
    untrained."""
    n_exact_points: int = omit_default(50, in_files=False)
    """Images of each player."""
    jpeg_quality: int | None = omit_default(None, in_files=False)
    """Make the kit of JPEG files of this quality, 1 to 100, for suspects that take no other: all models are queried
    with the decoded files (default: exact pixels, which PNG files hold)."""

    @property
    def corrected_alpha(self) -> float:
        """Largest p at which the first of all suspects is accused by a kit with siblings."""
        return self.alpha / self.max_suspects

    @property
    def n_exact_siblings(self) -> int:
        """Siblings of the exact test."""
        return self.exact_siblings or siblings_needed(self.alpha, self.max_suspects)

    @property
    def n_calibrate(self) -> int:
        """Calibration models of a group."""
        return self.calibration_factor * (needed_for(self.alpha / self.max_suspects) + 1) - 1

    @property
    def n_group(self) -> int:
        """All models of a group."""
        return self.n_training + self.n_calibrate + self.n_test

    @property
    def n_training(self) -> int:
        """Training models of a group; a light kit trains nothing."""
        return self.n_train if self.size == "full" else 0

    @property
    def n_stolen(self) -> int:
        """All stolen models."""
        return len(self.extraction_variants) * (self.n_train_piracy + self.n_test_piracy) if self.size == "full" else 0

    @property
    def extraction_variants(self) -> tuple[tuple[str, ResponseFormat], ...]:
        """(attack, labels) of stolen models."""
        return tuple(product(self.attacks, self.labels))


def check_enroll_config(requirements: EnrollConfig) -> None:
    """Accept what can be enrolled.

    Raises:
        UserError: a number out of range, an unknown or repeated name, a word that is no choice of its field, too few
            stolen models, or a field that changes nothing beside the others.
    """
    if not 0.0 < requirements.alpha <= 0.5:
        raise UserError(f"alpha: expected a rate above 0 and up to 0.5, got {requirements.alpha:g}", argument="alpha")
    if not 1 <= requirements.max_suspects <= 1000:
        raise UserError(f"max_suspects: expected 1 to 1000, got {requirements.max_suspects}", argument="max_suspects")
    _check_choices(requirements)
    _check_names(requirements)
    _check_numbers(requirements)
    _check_siblings(requirements)
    _check_exact(requirements)
    _check_unused(requirements)
    if requirements.n_train_piracy * len(requirements.extraction_variants) < 2:
        raise UserError(
            "n_train_piracy: expected at least two stolen models to train on, got one; raise it",
            argument="n_train_piracy",
        )


def _check_choices(requirements: EnrollConfig) -> None:
    """Of each field that is one of a few words: in Python nothing else keeps a misspelt one out."""
    for name, hint in get_type_hints(EnrollConfig).items():
        choices, value = get_args(hint), getattr(requirements, name)
        if get_origin(hint) is Literal and value not in choices:
            *others, last = choices
            raise UserError(f"{name}: expected {', '.join(others)} or {last}, got {value!r}", argument=name)


def _check_names(requirements: EnrollConfig) -> None:
    """Groups of models, attacks and what they get, formats of responses."""
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


def _check_numbers(requirements: EnrollConfig) -> None:
    """Of models, images and sets."""
    leasts = {"n_errors": 1, "n_train": 2, "n_train_piracy": 1, "n_test": 0, "n_test_piracy": 0, "n_committee": 0}
    for name, least in (leasts | {"n_sets": 1, "n_points": 10, "calibration_factor": 1}).items():
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


def _check_siblings(requirements: EnrollConfig) -> None:
    """Of the victim, where something needs them."""
    if requirements.n_committee == 1:
        raise UserError("n_committee: expected 0, or at least 2 siblings, got 1; raise it", argument="n_committee")
    if "sibling" in requirements.groups and not requirements.n_committee:
        raise UserError(
            "groups: expected siblings of the victim for the group sibling, got n_committee 0; leave it out, or raise "
            "n_committee",
            argument="groups",
        )
    if requirements.size == "light" and not requirements.n_committee:
        raise UserError(
            "size: expected siblings of the victim for a light kit, got n_committee 0; raise it", argument="size"
        )


def _check_exact(requirements: EnrollConfig) -> None:
    """Of the exact sibling test."""
    if requirements.exact == "none":
        return
    if not requirements.n_committee:
        raise UserError("exact: expected siblings of the victim, got n_committee 0; raise it", argument="exact")
    if requirements.n_sets != 1:
        raise UserError(
            f"n_sets: expected 1 beside the exact test, whose images would give away those of further sets, got "
            f"{requirements.n_sets}; give n_sets 1",
            argument="n_sets",
        )
    needed = siblings_needed(requirements.alpha, requirements.max_suspects)
    if requirements.n_exact_siblings < needed:
        raise UserError(
            f"exact_siblings: expected at least {needed} for alpha {requirements.alpha:g} and "
            f"{requirements.max_suspects} suspects, got {requirements.exact_siblings}; raise it",
            argument="exact_siblings",
        )
    for name, least in {"exact_siblings": 1, "n_exact_stolen": 0, "n_exact_points": 5}.items():
        value = getattr(requirements, name)
        if value is not None and not least <= value <= 10_000:
            raise UserError(f"{name}: expected {least} to 10000, got {value}", argument=name)


def _check_unused(requirements: EnrollConfig) -> None:
    """No field was given that nothing reads beside the others."""
    unused: list[tuple[bool, str, tuple[str, ...]]] = [
        (requirements.exact == "none", "exact none", ("exact_siblings", "n_exact_stolen", "n_exact_points")),
        (requirements.size == "light", "size light", ("n_train", "n_train_piracy", "n_test_piracy", "n_errors")),
        (not requirements.n_committee, "n_committee 0", ("n_sets", "n_points")),
    ]
    default = EnrollConfig()
    for applies, beside, names in unused:
        for name in names:
            if applies and (value := getattr(requirements, name)) != getattr(default, name):
                raise UserError(
                    f"{name}: expected nothing with {beside}, where it would change nothing, got {value}; leave it out",
                    argument=name,
                )
