"""Adversarial perturbations: of one image (DeepFool) and of all images at once (UAP)."""
