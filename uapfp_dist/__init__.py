"""Fingerprint neural networks by universal adversarial perturbations (Peng et al., CVPR 2022), on Ray, into MLflow."""

__version__ = "0.1.0"
