"""What is done to labels before a model is trained on them, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import wire_names


@wire_names("LabelChange", "noise smoothing")
@dataclass(frozen=True)
class LabelChange:
    """Noise, then smoothing: an attacker's on the victim's responses, an independent owner's on true labels."""

    noise: float = 0.0
    """Share of the images, at random, that get another label: any of the others."""
    smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes."""

    @property
    def description(self) -> str:
        """A short name for tables, such as `label noise .1`."""
        parts = {"label noise": self.noise, "label smoothing": self.smoothing}
        return ", ".join(f"{name} {share:g}".replace(" 0.", " .") for name, share in parts.items() if share)
