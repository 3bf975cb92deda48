"""The configuration of the evaluation that an enrolment is made with."""

from dataclasses import fields, replace
from operator import attrgetter

from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, ExtractionConfig, VerdictConfig
from uapfp_dist.config.validation import check
from uapfp_dist.errors import UserError
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.kit.info import Configuration

SET_BY_REQUIREMENTS = (
    "zoo.n_piracy", "zoo.n_soft_piracy", "zoo.n_homologous", "zoo.n_same_data", "zoo.n_other_piracy",
    "zoo.n_calibration_piracy", "zoo.cross_other_piracy", "extraction.attacks", "extraction.soft_labels",
    "uap.round_to_8_bits", "uap.references", "fingerprint.n_natural", "siblings.n_committee", "siblings.n_piracy",
    "siblings.exact", "churn.n_points", "churn.budgets", "churn.twins", "verdict",
)  # fmt: skip
"""Fields of a configuration, or whole sections, that an enrolment sets itself or never reads."""
EVALUATION_ALONE = ("modifications", "studies", "controls", "removal")
"""Sections of a configuration that are for evaluations."""


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


def check_no_unused_field(config: Config, base: Config, requirements: EnrollConfig) -> None:
    """Accept a configuration whose fields are read, or stand as in what the options start from.

    Args:
        config: as it was chosen.
        base: the preset that it starts from.
        requirements: what the kit must decide.

    Raises:
        UserError: a field that was given, and would change nothing.
    """
    unused: list[tuple[str, str]] = []
    if requirements.size == "light":
        unused += [(f"encoder.{item.name}", "size light, which trains no encoder") for item in fields(config.encoder)]
    if not requirements.n_committee:
        names = ["siblings.gate", *(f"churn.{item.name}" for item in fields(config.churn))]
        unused += [(name, "n_committee 0, without siblings") for name in names]
    for name, beside in unused:
        if (value := attrgetter(name)(config)) != (usual := attrgetter(name)(base)):
            raise UserError(
                f"{name}: expected {usual} as in the preset with {beside}, got {value}, which would change nothing; "
                "leave it out",
                argument=name,
            )


def with_model_counts(config: Config, requirements: EnrollConfig, share: float = 1.0) -> Config:
    """`config` with the numbers of models that `requirements` take, and images in 8 bits or JPEG files.

    Args:
        config: as it was chosen.
        requirements: what the kit must decide.
        share: images that the victim was trained on, of those that it would be trained on by `config`.
    """
    n_group, zoo, quality = requirements.n_group, config.zoo, requirements.jpeg_quality
    return replace(
        config,
        zoo=replace(
            zoo,
            architectures=tuple(dict.fromkeys((zoo.victim_architecture, *zoo.architectures))),
            epochs=zoo.epochs * share,
            n_piracy=requirements.n_stolen or 2,  # the fewest of an evaluation; a light kit makes none of them
            n_soft_piracy=0,
            n_homologous=n_group,
            n_same_data=n_group if "same_data" in requirements.groups else 0,
            n_other_piracy=(),
            cross_other_piracy=False,  # there are none: as in files of before
            n_calibration_piracy=n_group if "other_victim" in requirements.groups else 0,
        ),
        siblings=replace(
            config.siblings,
            n_committee=requirements.n_committee,
            exact=False,
            n_piracy=n_group if "sibling" in requirements.groups else 0,
        ),
        churn=replace(config.churn, twins=False, jpeg_quality=quality) if requirements.n_committee else ChurnConfig(),
        extraction=replace(config.extraction, attacks=requirements.attacks, budget=config.extraction.budget * share),
        uap=replace(config.uap, round_to_8_bits=True, references=False, jpeg_quality=quality),
        fingerprint=replace(config.fingerprint, n_natural=max(requirements.n_errors, config.fingerprint.max_natural)),
        verdict=VerdictConfig(
            alpha=requirements.alpha,
            n_train=1,
            n_calibrate=requirements.n_calibrate,
            formats=requirements.formats,
            n_resamples=1,
        ),
    )


def check_derived(config: Config) -> None:
    """`check` of what `with_model_counts` gives, perhaps with other sections.

    A kit's default `n_errors` may be more than `fingerprint.max_natural`: it is topped up with the lowest margins.

    Raises:
        UserError: a name or a number that cannot be.
    """
    fingerprint = config.fingerprint
    n_natural = max(1, min(fingerprint.n_natural, fingerprint.max_natural))
    check(replace(config, fingerprint=replace(fingerprint, n_natural=n_natural)))


def recorded_configuration(config: Config, requirements: EnrollConfig) -> Configuration:
    """What a kit says that it was made with.

    `config` is what `with_model_counts` gives.
    """
    found = wire_form(config) | {"enroll": wire_form(requirements)}
    if precision := found.pop("precision", None):  # not there at its default
        found["zoo"] |= {"precision": precision}
    return found  # type: ignore[no-any-return]
