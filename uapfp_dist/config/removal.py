"""Configuration of removal attacks, which are aimed at the evidence itself."""

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import wire_names


@wire_names(
    "RemovalConfig",
    "n_piracy n_homologous label_noise label_smoothing pgd_radii pgd_iterations fresh_distillation n_guessing "
    "guessing_epochs compose",
)
@dataclass(frozen=True)
class RemovalConfig:
    """Removal attacks beside the paper's modifications, on stolen and independent models alike; none by default."""

    n_piracy: int = 0
    """The first so many stolen models are attacked in every way."""
    n_homologous: int = 0
    """Independent models attacked in the same ways: those accused afterwards were made suspicious by the attack."""
    label_noise: tuple[float, ...] = (0.1, 0.3)
    """Shares of wrong labels put into the training set from which the model is stolen, or trained."""
    label_smoothing: tuple[float, ...] = (0.1, 0.3)
    """Shares of each training label spread evenly over all classes, likewise."""
    pgd_radii: tuple[float, ...] = (0.02, 0.05)
    """Radii of adversarial training on PGD examples: the largest change of a pixel in [0, 1]."""
    pgd_iterations: int = 300
    """Steps of that training."""
    fresh_distillation: bool = True
    """Distil on images that the model was not trained with, into a new net of its architecture."""
    n_guessing: int = 4
    """Siblings that the attacker trains to guess churn points, to fine-tune on; 0: no such attack."""
    guessing_epochs: float = 10.0
    """Epochs on the guessed points."""
    compose: bool = True
    """Also two in a row, with the first value of each option: PGD then fresh distillation, label noise then guessed
    churn, guessed churn then fine-tuning."""
