"""Names of the blocks of a probe."""

CLEAN = "clean"
"""The block of the points as they are."""


NATURAL = "natural"
"""The block of natural errors: no views, always asked whole."""


PAPER = "uap_paper"
"""The block of the paper's single UAP."""


DEEPFOOL = "uap_deepfool"
"""The block of a single UAP of the same radius, made by Moosavi-Dezfooli's algorithm."""


LAP_MINIMAL = "lap_minimal"
"""The block of DeepFool's own perturbation of each point, not rescaled."""


IPGUARD = "ipguard"
"""The block of points near the decision boundary: one view."""


def block_name(perturbation: str, fraction: float) -> str:
    """The name of the answers to one kind of perturbation at one fraction of the paper's xi."""
    return f"{perturbation}@{fraction:g}"


RANDOM_PAPER = block_name("random", 1.0)
"""The block of one random vector of the paper's xi."""


LAP_PAPER = block_name("lap", 1.0)
"""The block of DeepFool's perturbation of each point, rescaled to the paper's xi."""
