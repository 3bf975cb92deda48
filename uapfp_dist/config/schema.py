"""The configuration of an evaluation: typed, documented field by field, and through tyro the command line."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from uapfp_dist.config.format_option import format_option
from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.siblings import SiblingConfig
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.hashing import omit_default, wire_names
from uapfp_dist.tasks.method_configs import (
    ChurnConfig,
    EncoderConfig,
    FingerprintConfig,
    SubspaceConfig,
    UapConfig,
)


@wire_names(
    "DataConfig",
    "name train_share outside_shares n_classes size",
    size=lambda size: [size[0], size[-1]] if size else None,
)
@dataclass(frozen=True)
class DataConfig:
    """Images and how they are split."""

    name: str = "digits"
    """digits (embedded), fashion_mnist, cifar10, tiny_imagenet, or imagefolder (a folder of your own)."""
    train_share: float = 0.835
    """Share of all images that forms D, where there is no official test set."""
    outside_shares: tuple[float, float, float] = (0.5, 0.2, 0.3)
    """Shares of the images outside D: PROBE (the owner's), ATTACK (the attacker's), EVAL (for measuring accuracy)."""
    n_classes: int | None = None
    """Only the first so many classes; None: all."""
    size: tuple[int, ...] | None = omit_default(None, in_files=False)
    """Size of the images of a folder: one side, or height and width (None: their own if they share one of at most 512,
    else their median, at most 224 on the longer side)."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """(height, width) of `size`.

        Raises:
            UserError: neither one number nor two.
        """
        if self.size is None:
            return None
        if len(self.size) not in (1, 2):
            raise UserError(
                f"data.size: expected one side, or height and width, got {len(self.size)} numbers; give one or two",
                argument="data.size",
            )
        return self.size[0], self.size[-1]


@wire_names(
    "ZooConfig",
    "architectures victim_architecture optimizers width epochs augment n_piracy n_soft_piracy "
    "n_homologous n_same_data n_other_piracy n_calibration_piracy overlap homologous_margin piracy_margin "
    "attempts rate_scale cross_other_piracy",
)
@dataclass(frozen=True)
class ZooConfig:
    """Which models are trained, and how long."""

    architectures: tuple[str, ...] = ("B", "C", "D", "E")
    """Architectures of stolen and independent models: A to E of Table 1, or any torchvision classification net."""
    victim_architecture: str = "A"
    """Architecture of the victim and of the other victims."""
    optimizers: tuple[str, ...] = ("sgd", "adam", "rmsprop")
    """Optimizers, spread evenly over the models of each architecture (Table 1)."""
    width: int = 8
    """Channels of the first half of the convolutions of A to E; the second half has twice as many."""
    epochs: float = 30.0
    """Epochs of training, in multiples of D_v's size: as many images are seen by stolen as by independent models."""
    augment: bool = False
    """Shift and mirror the images in training."""
    n_piracy: int = 12
    """Models stolen from the victim with hard labels."""
    n_soft_piracy: int = 3
    """Models stolen from the victim with soft labels."""
    n_homologous: int = 29
    """Independent models, each trained on a D_homo of its own."""
    n_same_data: int = 3
    """Independent models trained on exactly D_v."""
    n_other_piracy: tuple[int, ...] = (3, 3)
    """Models stolen from each other victim; as many other victims as there are numbers."""
    n_calibration_piracy: int = 0
    """Further other victims, of the victim's architecture, from each of which one model is stolen: these calibrate
    against models stolen from unseen victims."""
    overlap: float | None = None
    """Share of D_homo that lies in D_v; None samples D_homo uniformly from D."""
    homologous_margin: float = 0.08
    """The gate of a model trained on true labels: at least the victim's accuracy minus this."""
    piracy_margin: float = 0.1
    """The same of stolen models."""
    attempts: int = 3
    """Seeds tried before a model below its gate is reported as failed."""
    rate_scale: float = omit_default(1.0, in_files=False)
    """Factor of the peak learning rates (at batch 128: .05 of SGD, .005 of Adam, .003 of RMSprop); large images take
    less, or nets stay near chance."""
    cross_other_piracy: bool = omit_default(True, in_files=False, before=False)
    """Architectures, optimizers and attacks of models stolen from other victims go on from victim to victim; without
    this those of each victim start from the first, so that few of them occur."""


@wire_names(
    "ExtractionConfig",
    "attacks budget natural_share rounds overlap soft_labels jacobian_labels knockoff_pool",
    soft_labels=lambda labels: labels.extraction_wire,
)
@dataclass(frozen=True)
class ExtractionConfig:
    """How models are extracted."""

    attacks: tuple[str, ...] = ("cloudleak", "jacobian")
    """Attacks, taken in turn by the extracted models: cloudleak, cloudleak_features, jacobian, knockoff."""
    budget: float = 1.2
    """Queries to the victim, in multiples of D_v."""
    natural_share: float = 0.6
    """Share of the budget spent on natural images first."""
    rounds: int = 3
    """Rounds of synthetic queries after that."""
    overlap: float = 0.0
    """Share of the natural queries that are images of D_v."""
    soft_labels: Annotated[ResponseFormat, format_option("extraction.soft_labels")] = PROBABILITIES
    """Format of the victim's responses to extractions with soft labels: probabilities, or top3 (any number)."""
    jacobian_labels: Literal["victim", "substitute"] = omit_default("victim", in_files=False, before="substitute")
    """Whose labels Jacobian augmentation follows: the victim's, as published; the substitute's, as earlier versions."""
    knockoff_pool: str | None = omit_default(None, in_files=False)
    """Data set in the same data root whose images knockoff sends, scaled to the victim's (None: images of the victim's
    kind). Models of controls.n-mixed always take that kind: other images have no true label among its classes."""


@wire_names(
    "VerdictConfig",
    "alpha n_train n_calibrate formats pool query_budget n_draws methods decided_by",
    formats=lambda formats: [fmt.wire for fmt in formats],
)
@dataclass(frozen=True)
class VerdictConfig:
    """How suspects are judged."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    n_train: int = 5
    """Stolen and independent models that train the encoder (the paper's 5 + 5)."""
    n_calibrate: int = 19
    """Independent calibration models; at least 1 / alpha - 1, or nothing can be decided."""
    formats: tuple[Annotated[ResponseFormat, format_option("verdict.formats")], ...] = (PROBABILITIES, LABEL)
    """What suspects may be queried for: probabilities, top3 (any number), label; methods choose on training models."""
    train_pool: int | None = None
    """Only the first so many stolen and independent models train encoders; the others are sent fewer views (None: all
    may)."""
    query_budget: int = 200
    """Images per suspect in the comparison of methods at equal cost."""
    n_resamples: int = 10
    """Resamples (random partitions of the zoo) over which AUC is averaged; verdicts use the first."""
    methods: tuple[str, ...] = tuple(PROBE_METHODS)
    """Fingerprint methods to compare; uap and weighted_errors are always among them."""
    decided_by: str = "uap"
    """Method whose scores decide the verdict."""

    @property
    def compared(self) -> tuple[str, ...]:
        """All methods that are scored, each once."""
        return tuple(dict.fromkeys(("uap", "weighted_errors", self.decided_by, *self.methods)))


@wire_names(
    "ModificationConfig",
    "n_piracy n_homologous victim fine_tune fine_tune_epochs prune recovery_epochs int8 distill_to "
    "compose n_adversarial adversarial_labels adversarial_iterations adversarial_every",
)
@dataclass(frozen=True)
class ModificationConfig:
    """Modifications of a model to evade detection (paper Section 5.4), all of the same models; none by default."""

    n_piracy: int = 0
    """The first so many stolen models are modified in every way."""
    n_homologous: int = 0
    """Independent models modified in the same ways: a similarity that grew for these, too, would not be robustness."""
    victim: bool = False
    """Modify the victim, too."""
    fine_tune: tuple[str, ...] = ("all", "last", "new_last")
    """Layers that are fine-tuned on ATTACK: all, the last, or the last from new random weights."""
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
    """Also two in a row: prune .4, then fine-tune."""
    n_adversarial: int = 2
    """How many of the models above are trained adversarially."""
    adversarial_labels: tuple[str, ...] = ("own", "true")
    """Labels of the adversarial examples: own, those of the attacker's model; true, the true ones."""
    adversarial_iterations: int = 270
    """Iterations of adversarial training (the paper's 270)."""
    adversarial_every: int = 30
    """Iterations between two models that are stored."""


@wire_names(
    "StudyConfig",
    "n_subspace subspace n_trajectories recoveries n_overlap overlaps sweeps n_points top_k n_views "
    "n_draws whole_clusters",
)
@dataclass(frozen=True)
class StudyConfig:
    """Studies beside the main result (figures 2 and 6, the supplement's ablations); none by default."""

    n_subspace: int = 0
    """So many stolen and so many independent models: their UAPs are compared with the victim's (Eq. 5)."""
    subspace: SubspaceConfig = field(default_factory=SubspaceConfig)
    n_trajectories: int = 0
    """Extractions that are stored at several recovery rates, for Figure 6 right."""
    recoveries: tuple[float, ...] = (0.78, 0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94)
    """Those recovery rates."""
    n_overlap: int = 0
    """Independent models for each overlap rate of D_homo with D_v."""
    overlaps: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Those rates."""
    sweeps: bool = False
    """Retrain the encoder for each number of points, top-k, number of views and loss, on the stored responses."""
    n_points: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    """Points per fingerprint in Figure 6 left; those above the fingerprint's own are left out."""
    top_k: tuple[int, ...] = (1, 2, 3, 5, 10)
    """Confidence values returned in Figure 6 left; those above the number of classes are left out."""
    n_views: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 200)
    """Views the encoder learns from; those above the fingerprint's own are left out."""
    n_resamples: int = 3
    """Resamples per setting of a sweep."""
    whole_clusters: bool = False
    """Also views by Algorithm 1, beside those of Section 4.3."""


@wire_names("ControlConfig", "architectures n_other_architecture n_second_hand true_shares n_mixed")
@dataclass(frozen=True)
class ControlConfig:
    """Models unlike those that scorers are trained on; none by default."""

    architectures: tuple[str, ...] = ("residual", "mlp")
    """Architectures that no other model has: one residual, one without convolutions."""
    n_other_architecture: int = 0
    """Independent models of each of those."""
    n_second_hand: int = 0
    """Models stolen from a model that was itself stolen from the victim, each from another one."""
    true_shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Shares of the images for which an attacker uses true labels in place of the victim's."""
    n_mixed: int = 0
    """Models stolen with each of those shares, by knockoff."""


@wire_names(
    "Config",
    "data zoo extraction uap fingerprint encoder verdict modifications studies precision siblings churn controls "
    "removal",
)
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
    precision: Literal["float32", "bfloat16", "auto"] = omit_default("float32", in_files=False)
    """Precision of training: bfloat16 is faster for all but the smallest nets on devices that have it; auto: bfloat16
    where the machine that starts the job has it. Models trained in different precisions are different models."""
    siblings: SiblingConfig = omit_default(SiblingConfig(), in_files=False)  # noqa: RUF009 frozen
    churn: ChurnConfig = omit_default(ChurnConfig(), in_files=False)  # noqa: RUF009 frozen
    controls: ControlConfig = omit_default(ControlConfig(), in_files=False)  # noqa: RUF009 frozen
    removal: RemovalConfig = omit_default(RemovalConfig(), in_files=False)  # noqa: RUF009 frozen
