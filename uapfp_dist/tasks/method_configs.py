"""Settings of the fingerprinting method, which are part of the ids of what they determine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uapfp_dist.tasks.hashing import omit_default, wire_names


@wire_names(
    "UapConfig",
    "algorithm xi_grid target_fooling n_images passes xi_fractions n_uaps round_to_8_bits references jpeg_quality",
)
@dataclass(frozen=True)
class UapConfig:
    """How the universal perturbation is made (paper Eq. 3, protocol 2.5-2.7)."""

    algorithm: Literal["sgd", "deepfool"] = "sgd"
    """sgd: projected gradient over the set, the default; deepfool: Moosavi-Dezfooli's loop, batched."""
    xi_grid: tuple[float, ...] = (
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.45,
        0.5,
        0.55,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    )
    """l2 radii to try, ascending, in units of the mean l2 norm of an image."""
    target_fooling: float = 0.8
    """The paper's UAP fools more than this share of held-out images (before clipping)."""
    n_images: int = 2000
    """Images of D_v that the paper's UAP is fitted on."""
    passes: int = 20
    """Passes over those images (per radius)."""
    xi_fractions: tuple[float, ...] = (0.5, 0.7)
    """Radii that the training models choose from, as fractions of the paper's xi."""
    n_uaps: int = 10
    """UAPs at each of those radii, applied to the views in turn: each from a random start, on a quarter of the images,
    in half the passes. A single UAP would shift every point in the same direction."""
    round_to_8_bits: bool = False
    """Round every image to 8 bits before it is sent, as for an API that takes 8-bit images."""
    references: bool = omit_default(True)
    """Also make what the UAPs are compared with: random, local, DeepFool's and boundary perturbations."""
    jpeg_quality: int | None = omit_default(None, in_files=False)
    """Send images as decoded from JPEG files of this quality (besides round_to_8_bits); None: no JPEG."""


@wire_names("SubspaceConfig", "n_uaps n_images passes xi start largest_cosine")
@dataclass(frozen=True)
class SubspaceConfig:
    """The UAPs by which Eq. 5 compares models (protocol 2.17)."""

    n_uaps: int = 784
    """UAPs per model."""
    n_images: int = 300
    """Images that each model's UAPs are fitted on, a random half for each UAP."""
    passes: int = 2
    """Passes over those images; more of them hardly raise the fooling rate."""
    xi: float = 0.25
    """Their l2 norm while they are fitted, in units of the mean l2 norm of an image; afterwards they have norm 1."""
    start: float = omit_default(0.01, in_files=False, before=1.0)
    """Norm of the random vector that each starts from, as a fraction of xi. What is left of it is noise."""
    largest_cosine: float = omit_default(0.1, in_files=False, before=1.0)
    """A UAP gets as many passes again while its cosine to its start is not below this; 1: never."""


@wire_names(
    "FingerprintConfig",
    "n_points n_views n_test_views views n_candidates representation n_natural max_natural",
)
@dataclass(frozen=True)
class FingerprintConfig:
    """Which images make a fingerprint (paper Sections 4.2, 4.3; protocol 2.8-2.10)."""

    n_points: int = 100
    """Images in one fingerprint (the paper's n)."""
    n_views: int = 200
    """Fingerprints per model when the encoder is trained (the paper's k)."""
    n_test_views: int = 20
    """Fingerprints of a suspect: the first so many views, the same for calibration models and suspects."""
    views: Literal["neighbours", "whole_clusters"] = "neighbours"
    """neighbours: Section 4.3, the images nearest to each cluster's point in the output layer; whole_clusters:
    Algorithm 1, one image per cluster and view, without replacement (refused if a cluster is smaller than n_views)."""
    n_candidates: int | None = omit_default(None)
    """Points are chosen among so many images of D_v, at random; None: among all (long for large nets on a CPU)."""
    representation: Literal["penultimate", "logits"] = "penultimate"
    """The victim's layer in which K-means clusters its training images."""
    n_natural: int = 100
    """Natural errors of the victim (topped up with its lowest margins) that a suspect is queried with."""
    max_natural: int = 1000
    """Natural errors that training models are queried with, from which the best n_natural are taken."""


@wire_names(
    "ChurnConfig",
    "pool_size max_variants rotation shift zoom mirror largest_share candidates_per_image max_points n_points "
    "per_image budgets twins jpeg_quality",
)
@dataclass(frozen=True)
class ChurnConfig:
    """On which images a victim is compared with its siblings, and how many of them a suspect is sent."""

    pool_size: int = 25_000
    """Images on which the victim is compared with its siblings: PROBE and random small transformations of it."""
    max_variants: int = 40
    """Transformed versions of one image, at most."""
    rotation: float = 12.0
    """Largest rotation, in degrees."""
    shift: float = 0.1
    """Largest shift, as a share of the image's side."""
    zoom: float = 0.12
    """Largest zoom in or out, as a share of the size."""
    mirror: bool = False
    """Mirror half of the transformed images left to right; not for digits and clothes, which have a handedness."""
    largest_share: float = 0.3
    """A churn point is an image to which at most this share of the committee gives the victim's label."""
    candidates_per_image: int = 8
    """Churn points made from one image that the models of the zoo are queried with, at most."""
    max_points: int = 6000
    """Churn points that they are queried with, those of the victim's largest margin; a suspect is sent some of them."""
    n_points: int = 400
    """Churn points that a suspect is sent."""
    per_image: int = 2
    """Of those, at most so many made from one image: many versions of one image can be recognised as a test."""
    budgets: tuple[int, ...] = (100, 400, 1000)
    """Query budgets, in churn points, at which methods are compared."""
    twins: bool = True
    """Also churn points of three other pools: PROBE as it is, moved by the victim's UAPs, by noise of their norm."""
    jpeg_quality: int | None = omit_default(None, in_files=False)
    """Query models with images as decoded from JPEG files of this quality; None: with the exact pixels."""


@wire_names("SiblingTestConfig", "n_points largest_share n_candidates per_image")
@dataclass(frozen=True)
class SiblingTestConfig:
    """How the points of the exact sibling test are chosen, alike for all players."""

    n_points: int = 50
    """Images of each player."""
    largest_share: float = 0.3
    """Largest share of the other players that give a player's label where it counts as disagreeing with them."""
    n_candidates: int = 1000
    """Images of each player among which learned weights choose."""
    per_image: int = 2
    """At most so many of a player's images are made from one image."""


@wire_names("EncoderConfig", "hidden embedding tau learning_rate epochs batch_size span loss")
@dataclass(frozen=True)
class EncoderConfig:
    """Architecture and training of the encoder (protocol 2.1, 2.2)."""

    hidden: int = 64
    """Width of the hidden layer."""
    embedding: int = 64
    """Dimensions of the embedding; ReLU on top, so that cosines lie in [0, 1]."""
    tau: float = 0.2
    """Temperature of Eq. 7."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    epochs: int = 40
    """Passes over all fingerprints."""
    batch_size: int = 512
    """Fingerprints per batch (the paper's)."""
    span: int = 512
    """Principal directions of the training fingerprints that the first layer may use, at most."""
    loss: Literal["supcon", "cross_entropy", "autoencoder"] = omit_default("supcon")
    """supcon: Eq. 7; cross_entropy: a linear head tells the two classes apart; autoencoder: a decoder gives the
    fingerprint back (mean squared error of its coordinates in the span), labels unused."""
