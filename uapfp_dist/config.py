"""The configuration: typed, documented field by field, and through tyro the command line. Presets at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from uapfp_dist.errors import UserError, known
from uapfp_dist.science.data import DATASETS
from uapfp_dist.science.encoder import EncoderConfig
from uapfp_dist.science.extraction import EXTRACTIONS
from uapfp_dist.science.fingerprint.methods import METHODS
from uapfp_dist.science.training import PEAK_RATES
from uapfp_dist.science.zoo import ARCHITECTURES
from uapfp_dist.specs import FingerprintConfig, UapConfig


@dataclass(frozen=True)
class DataConfig:
    """Images and how they are cut."""

    name: str = "digits"
    """digits (embedded), fashion_mnist (torchvision's layout) or imagefolder (a folder of your own)."""
    train_share: float = 0.835
    """Share of all images that is D, where there is no official test set."""
    outside_shares: tuple[float, float, float] = (0.5, 0.2, 0.3)
    """Images outside D: the owner's PROBE, the attacker's ATTACK, everybody's EVAL."""


@dataclass(frozen=True)
class ZooConfig:
    """Which models are trained, and how long."""

    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    """Architectures of piracy and homologous models (Table 1)."""
    victim_architecture: str = "A"
    """Architecture of the victim and of the other victims."""
    optimizers: tuple[str, ...] = ("sgd", "adam", "rmsprop")
    """Optimizers, spread evenly over the models of each architecture (Table 1)."""
    width: int = 8
    """Channels of the first half of the convolutions; the second half has twice as many."""
    epochs: float = 30.0
    """Images seen in training, in multiples of D_v: the same for piracy and homologous models."""
    n_piracy: int = 12
    """Models stolen from the victim with hard labels."""
    n_soft_piracy: int = 3
    """Models stolen from the victim with soft labels."""
    n_homologous: int = 29
    """Models trained on a D_homo each."""
    n_same_data: int = 3
    """Models trained on exactly D_v."""
    n_other_piracy: tuple[int, ...] = (3, 3)
    """Models stolen from each other victim; as many other victims as there are numbers."""
    n_calibration_piracy: int = 0
    """Homologous models from which one model each is stolen, to calibrate against piracy of victims never seen."""
    overlap: float | None = None
    """Share of D_homo that lies in D_v; None draws D_homo uniformly from D."""
    homologous_margin: float = 0.08
    """A model trained on labels enters the zoo at the victim's accuracy minus this."""
    piracy_margin: float = 0.1
    """The same for stolen models."""
    attempts: int = 3
    """Seeds tried before a model below the gate is reported as failed."""


@dataclass(frozen=True)
class ExtractionConfig:
    """How models are stolen."""

    attacks: tuple[str, ...] = ("cloudleak", "jacobian")
    """Attacks, in turn over the stolen models."""
    budget: float = 1.2
    """Images sent to the victim, in multiples of D_v."""
    natural_share: float = 0.6
    """Share of the budget spent on natural images first."""
    rounds: int = 3
    """Rounds of synthetic queries after that."""


@dataclass(frozen=True)
class VerdictConfig:
    """How suspects are judged."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    n_train: int = 5
    """Piracy and homologous models that train the encoder (the paper's 5 + 5)."""
    n_calibrate: int = 19
    """Homologous models that calibrate; at least 1 / alpha - 1, or nothing can be decided."""
    n_draws: int = 10
    """Partitions of the zoo over which AUC is averaged; verdicts use the first."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Fingerprint methods to compare; uap and weighted_errors are always among them."""


@dataclass(frozen=True)
class Config:
    """Everything that determines the result, the seed apart."""

    data: DataConfig = field(default_factory=DataConfig)
    zoo: ZooConfig = field(default_factory=ZooConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    uap: UapConfig = field(default_factory=UapConfig)
    fingerprint: FingerprintConfig = field(default_factory=FingerprintConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    verdict: VerdictConfig = field(default_factory=VerdictConfig)


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
    _names("attack", config.extraction.attacks, EXTRACTIONS)
    _names("method", verdict.methods, METHODS)
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
    for name in ("n_soft_piracy", "n_same_data"):
        _within(name, getattr(zoo, name), 0, 100_000)
    for n in zoo.n_other_piracy:
        _within("n_other_piracy", n, 0, 100_000)
    _within("n_calibration_piracy", zoo.n_calibration_piracy, 0, zoo.n_homologous)
    _within("n_calibrate", verdict.n_calibrate, 1, 100_000)
    _within("n_natural", fingerprint.n_natural, 1, 10**6)
    _within("tau", config.encoder.tau, 0.02, 100.0)
    _within("n_points", fingerprint.n_points, 2, 10**6)
    _within("n_views", fingerprint.n_views, 2, 10**6)
    _within("n_test_views", fingerprint.n_test_views, 2, fingerprint.n_views)
    if zoo.overlap is not None:
        _within("overlap", zoo.overlap, 0.0, 1.0)
    for fraction in config.uap.xi_fractions:
        _within("xi_fractions", fraction, 1e-3, 1.0)


def _names(kind: str, names: tuple[str, ...], table: Mapping[str, object]) -> None:
    if not names:
        raise UserError(f"expected at least one {kind}, got none; known: {', '.join(sorted(table))}")
    for name in names:
        if name not in table:
            raise known(kind, name, table)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")


_DIGITS_FINGERPRINT = FingerprintConfig(n_points=60, n_views=20, n_test_views=20)

PRESETS: dict[str, Config] = {
    "digits": Config(
        fingerprint=_DIGITS_FINGERPRINT,
    ),
    "digits-large": Config(
        zoo=ZooConfig(
            width=16,
            epochs=40.0,
            n_piracy=20,
            n_soft_piracy=8,
            n_homologous=69,
            n_same_data=8,
            n_other_piracy=(8, 8),
            n_calibration_piracy=44,
        ),
        extraction=ExtractionConfig(budget=4.0, natural_share=0.25, rounds=5),
        fingerprint=_DIGITS_FINGERPRINT,
        verdict=VerdictConfig(n_calibrate=39),
    ),
    "fashion_mnist-small": Config(
        data=DataConfig(name="fashion_mnist"),
        zoo=ZooConfig(
            width=16,
            epochs=4.0,
            n_piracy=16,
            n_soft_piracy=3,
            n_homologous=37,
            n_same_data=4,
            n_other_piracy=(6, 4),
            homologous_margin=0.03,
            piracy_margin=0.05,
        ),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=50),
    ),
    "fashion_mnist": Config(
        data=DataConfig(name="fashion_mnist"),
        zoo=ZooConfig(
            width=16,
            epochs=4.0,
            n_piracy=120,
            n_soft_piracy=12,
            n_homologous=120,
            n_same_data=12,
            n_other_piracy=(12, 12),
            homologous_margin=0.03,
            piracy_margin=0.05,
        ),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=200),
        verdict=VerdictConfig(n_calibrate=39),
    ),
}
"""By name: data set, a hyphen and the size where it is not the paper's."""


def preset(name: str) -> Config:
    """A preset by name.

    Raises:
        UserError: unknown; lists the known ones.
    """
    if name not in PRESETS:
        raise known("preset", name, PRESETS)
    return PRESETS[name]
