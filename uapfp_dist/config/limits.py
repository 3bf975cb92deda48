"""What each field of a configuration may hold: known names, choices, ranges of numbers."""

from collections.abc import Collection

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.data import DATASETS
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.models.training import PEAK_RATES

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
