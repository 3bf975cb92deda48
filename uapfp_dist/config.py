"""The configuration: typed, documented field by field, and through tyro the command line. Presets at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from uapfp_dist.errors import UserError, known
from uapfp_dist.science.blackbox import check_labels, k_of
from uapfp_dist.science.data import DATASETS
from uapfp_dist.science.encoder import EncoderConfig
from uapfp_dist.science.extraction import EXTRACTIONS
from uapfp_dist.science.fingerprint.methods import METHODS
from uapfp_dist.science.training import PEAK_RATES
from uapfp_dist.science.zoo import ARCHITECTURES
from uapfp_dist.specs import FingerprintConfig, SubspaceConfig, UapConfig


@dataclass(frozen=True)
class DataConfig:
    """Images and how they are cut."""

    name: str = "digits"
    """digits (embedded), fashion_mnist, cifar10, tiny_imagenet, or imagefolder (a folder of your own)."""
    train_share: float = 0.835
    """Share of all images that is D, where there is no official test set."""
    outside_shares: tuple[float, float, float] = (0.5, 0.2, 0.3)
    """Images outside D: the owner's PROBE, the attacker's ATTACK, everybody's EVAL."""
    n_classes: int | None = None
    """Only the first so many classes; None: all."""


@dataclass(frozen=True)
class ZooConfig:
    """Which models are trained, and how long."""

    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    """Architectures of piracy and homologous models: A to E of Table 1, or any torchvision classification net."""
    victim_architecture: str = "A"
    """Architecture of the victim and of the other victims."""
    optimizers: tuple[str, ...] = ("sgd", "adam", "rmsprop")
    """Optimizers, spread evenly over the models of each architecture (Table 1)."""
    width: int = 8
    """Channels of the first half of the convolutions of A to E; the second half has twice as many."""
    epochs: float = 30.0
    """Images seen in training, in multiples of D_v: the same for piracy and homologous models."""
    augment: bool = False
    """Shift and mirror the images in training."""
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
    """Further other victims, of the victim's architecture, from each of which one model is stolen: they calibrate
    against piracy of victims never seen."""
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
    """Attacks, in turn over the stolen models: cloudleak, cloudleak_features, jacobian, knockoff."""
    budget: float = 1.2
    """Images sent to the victim, in multiples of D_v."""
    natural_share: float = 0.6
    """Share of the budget spent on natural images first."""
    rounds: int = 3
    """Rounds of synthetic queries after that."""
    overlap: float = 0.0
    """Share of the natural queries that are images of D_v."""
    soft_labels: str = "soft"
    """What the victim answers those who steal with soft labels: soft, or top3 (any number)."""


@dataclass(frozen=True)
class VerdictConfig:
    """How suspects are judged."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    n_train: int = 5
    """Piracy and homologous models that train the encoder (the paper's 5 + 5)."""
    n_calibrate: int = 19
    """Homologous models that calibrate; at least 1 / alpha - 1, or nothing can be decided."""
    formats: tuple[str, ...] = ("prob", "hard")
    """What suspects may be asked for: prob, hard (a label), top3 (any number); methods choose on training models."""
    pool: int | None = None
    """Only the first so many piracy and homologous models may train an encoder; the others are asked the test views
    alone, which is cheaper. None: any may."""
    query_budget: int = 200
    """Images per suspect in the comparison of methods at equal cost."""
    n_draws: int = 10
    """Partitions of the zoo over which AUC is averaged; verdicts use the first."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Fingerprint methods to compare; uap and weighted_errors are always among them."""
    decided_by: str = "uap"
    """Method whose scores the verdict is made of."""

    @property
    def compared(self) -> tuple[str, ...]:
        """All methods that are scored, each once."""
        return tuple(dict.fromkeys(("uap", "weighted_errors", self.decided_by, *self.methods)))


@dataclass(frozen=True)
class ModificationConfig:
    """Attacks on a model after it was stolen (paper Section 5.4), each on the same models; none by default."""

    n_piracy: int = 0
    """Piracy models that are modified in every way, the first ones."""
    n_homologous: int = 0
    """Homologous models treated alike: what looks like robustness must not hold for them."""
    victim: bool = False
    """Modify the victim, too."""
    fine_tune: tuple[str, ...] = ("all", "last", "new_last")
    """Layers that are fine-tuned on ATTACK: all, the last, or the last after new random weights."""
    fine_tune_epochs: float = 10.0
    """Epochs on ATTACK."""
    prune: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6)
    """Shares of the weights set to zero, by global magnitude."""
    recovery_epochs: float = 2.0
    """Epochs on ATTACK after pruning, in the variant with recovery."""
    int8: bool = True
    """Quantise to INT8."""
    distill_to: str | None = "C"
    """Architecture of a student that learns from the model (the zoo's next one where that is the model's own); None: no
    distillation."""
    compose: bool = True
    """Prune .4, then fine-tune: two in a row."""
    n_adversarial: int = 2
    """Of the models above, those that are trained adversarially."""
    adversarial_labels: tuple[str, ...] = ("own", "true")
    """Labels of the adversarial examples: the attacker's own model's, or the truth."""
    adversarial_iterations: int = 270
    """Iterations of adversarial training (the paper's 270)."""
    adversarial_every: int = 30
    """Iterations between two looks."""


@dataclass(frozen=True)
class StudyConfig:
    """What is shown beside the main result (figures 2 and 6, the supplement's ablations); none by default."""

    n_subspace: int = 0
    """Piracy and homologous models each whose UAPs are compared with the victim's (Eq. 5)."""
    subspace: SubspaceConfig = field(default_factory=SubspaceConfig)
    n_trajectories: int = 0
    """Extractions watched for Figure 6 right."""
    recoveries: tuple[float, ...] = (0.78, 0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94)
    """Recovery rates at which they are kept."""
    n_overlap: int = 0
    """Homologous models per overlap rate of D_homo and D_v."""
    overlaps: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Those rates."""
    sweeps: bool = False
    """Retrain the encoder per number of points, top-k, number of views and loss, on the stored answers."""
    n_points: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    """Points per fingerprint in Figure 6 left; those above the fingerprint's own are left out."""
    top_k: tuple[int, ...] = (1, 2, 3, 5, 10)
    """Confidence values returned in Figure 6 left; those above the number of classes are left out."""
    n_views: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 200)
    """Views the encoder learns from; those above the fingerprint's own are left out."""
    n_draws: int = 3
    """Draws per setting of a sweep."""
    whole_clusters: bool = False
    """Also views by Algorithm 1, beside those of Section 4.3."""


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
    modifications: ModificationConfig = field(default_factory=ModificationConfig)
    studies: StudyConfig = field(default_factory=StudyConfig)


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
        raise UserError("formats: expected at least one of prob, hard, top3 (any number), got none")
    for fmt in verdict.formats:
        if fmt not in ("prob", "hard"):
            k_of(fmt)
    check_labels(config.extraction.soft_labels)
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
            raise known(kind, name, table)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")


_DIGITS_FINGERPRINT = FingerprintConfig(n_points=60, n_views=20, n_test_views=20)


def _modifications(n: int, iterations: int) -> ModificationConfig:
    """Every modification, on `n` piracy and `n` homologous models and the victim."""
    return ModificationConfig(n, n, victim=True, adversarial_iterations=iterations)


def _studies(n_subspace: int, subspace: SubspaceConfig, n_trajectories: int, n_overlap: int) -> StudyConfig:
    """Every figure and ablation."""
    return StudyConfig(
        n_subspace=n_subspace,
        subspace=subspace,
        n_trajectories=n_trajectories,
        n_overlap=n_overlap,
        sweeps=True,
        whole_clusters=True,
    )


def _torchvision_zoo(epochs: float, homologous_margin: float, piracy_margin: float) -> ZooConfig:
    """The paper's zoo of 81 models, and controls."""
    return ZooConfig(
        architectures=("resnet34", "vgg16", "densenet121", "googlenet"),
        victim_architecture="resnet18",
        optimizers=("sgd",),
        epochs=epochs,
        augment=True,
        n_piracy=40,
        n_soft_piracy=4,
        n_homologous=40,
        n_same_data=4,
        n_other_piracy=(4, 4),
        homologous_margin=homologous_margin,
        piracy_margin=piracy_margin,
    )


ALL_FORMATS = ("prob", "top3", "hard")
"""What suspects are asked for on the paper's data sets."""
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
            n_calibration_piracy=39,
        ),
        extraction=ExtractionConfig(budget=4.0, natural_share=0.25, rounds=5),
        fingerprint=_DIGITS_FINGERPRINT,
        verdict=VerdictConfig(n_calibrate=39, decided_by="uap_ensemble"),
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
        verdict=VerdictConfig(formats=ALL_FORMATS),
        modifications=_modifications(3, 120),
        studies=_studies(5, SubspaceConfig(n_uaps=64, passes=5), n_trajectories=2, n_overlap=2),
    ),
    "fashion_mnist": Config(
        data=DataConfig(name="fashion_mnist"),
        zoo=ZooConfig(
            width=16,
            epochs=4.0,
            n_piracy=120,
            n_soft_piracy=3,
            n_homologous=120,
            n_same_data=4,
            n_other_piracy=(6, 4),
            homologous_margin=0.03,
            piracy_margin=0.05,
        ),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=200),
        verdict=VerdictConfig(n_calibrate=39, pool=20, formats=ALL_FORMATS),
        modifications=_modifications(12, 270),
        studies=_studies(20, SubspaceConfig(), n_trajectories=20, n_overlap=10),
    ),
    "cifar10-small": Config(
        data=DataConfig(name="cifar10"),
        zoo=ZooConfig(
            width=16,
            epochs=8.0,
            augment=True,
            n_piracy=16,
            n_soft_piracy=3,
            n_homologous=37,
            n_same_data=4,
            n_other_piracy=(6, 4),
            homologous_margin=0.08,
            piracy_margin=0.15,
        ),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=50),
        verdict=VerdictConfig(formats=ALL_FORMATS),
        modifications=_modifications(3, 120),
        studies=_studies(5, SubspaceConfig(n_uaps=64, passes=5), n_trajectories=2, n_overlap=2),
    ),
    "cifar10": Config(
        data=DataConfig(name="cifar10"),
        zoo=_torchvision_zoo(epochs=60.0, homologous_margin=0.05, piracy_margin=0.2),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=200),
        verdict=VerdictConfig(pool=20, formats=ALL_FORMATS),
        modifications=replace(_modifications(8, 270), distill_to="googlenet"),
        studies=_studies(10, SubspaceConfig(), n_trajectories=4, n_overlap=4),
    ),
    "tiny_imagenet-small": Config(
        data=DataConfig(name="tiny_imagenet", n_classes=20),
        zoo=ZooConfig(
            width=16,
            epochs=25.0,
            augment=True,
            n_piracy=16,
            n_soft_piracy=3,
            n_homologous=37,
            n_same_data=4,
            n_other_piracy=(6, 4),
            homologous_margin=0.1,
            piracy_margin=0.3,
        ),
        extraction=ExtractionConfig(budget=0.9, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=20, max_natural=300),
        verdict=VerdictConfig(formats=ALL_FORMATS),
        modifications=_modifications(3, 120),
        studies=_studies(5, SubspaceConfig(n_uaps=64, passes=5), n_trajectories=2, n_overlap=2),
    ),
    "tiny_imagenet": Config(
        data=DataConfig(name="tiny_imagenet"),
        zoo=_torchvision_zoo(epochs=60.0, homologous_margin=0.1, piracy_margin=0.45),
        extraction=ExtractionConfig(budget=0.8, natural_share=0.7),
        fingerprint=FingerprintConfig(n_points=100, n_views=200),
        verdict=VerdictConfig(pool=20, formats=ALL_FORMATS),
        modifications=replace(_modifications(4, 270), distill_to="googlenet"),
        studies=_studies(10, SubspaceConfig(n_uaps=256), n_trajectories=4, n_overlap=4),
    ),
}
"""By name: data set, a hyphen and the size where it is not the paper's."""


def preset_named(arguments: Sequence[str]) -> str:
    """The preset that a command line names, which the other options start from; the first look where it names none."""
    found = "digits"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            found = arguments[i + 1]
        if argument.startswith("--preset="):
            found = argument.split("=", 1)[1]
    return found  # the last one counts, as of any option


def preset(name: str) -> Config:
    """A preset by name.

    Raises:
        UserError: unknown; lists the known ones.
    """
    if name not in PRESETS:
        raise known("preset", name, PRESETS)
    return PRESETS[name]
