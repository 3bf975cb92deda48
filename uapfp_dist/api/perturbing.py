"""One universal adversarial perturbation of a model."""

from torch import Tensor

from uapfp_dist.api.checks import (
    check_finite_number,
    check_range,
    check_whole,
    checked_model,
    digest,
    images_of,
    outputs_of,
    weights_digest,
)
from uapfp_dist.api.images import LabelledImages
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models import Net
from uapfp_dist.perturbations.uap import ALGORITHMS, Uap, make_uap, search_xi
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import UapConfig


def uap(
    victim: Net,
    images: LabelledImages | Tensor,
    *,
    xi: float | None = None,
    held_out: LabelledImages | Tensor | None = None,
    target_fooling: float = UapConfig.target_fooling,
    algorithm: str = "sgd",
    passes: int = 20,
    seed: int = 0,
) -> Uap:
    """A UAP: one vector that changes the victim's label of most images (Eq. 3; Moosavi-Dezfooli et al., CVPR 2017).

    Args:
        victim: its gradients are used.
        images: (N, c, h, w) in [0, 1] to fool, such as `data.victim_set`; 2,000 are enough.
        xi: radius of the l2 ball, in pixel values of [0, 1] over all pixels, above 0; None: the smallest, from .1 to 1
            times the mean norm of an image, that fools `target_fooling` of `held_out`.
        held_out: images that the fooling rates are measured on; None: `images`.
        target_fooling: share of images, in [0, 1].
        algorithm: sgd, projected gradient descent; deepfool, the original loop.
        passes: over the images.
        seed: of the order of the images.

    Returns:
        `.v` (1, c, h, w) of l2 norm at most `.xi`; `.fooling_rate` and `.fooling_rate_clipped`, in [0, 1], of images
        x + v as they are and clipped to [0, 1].

    Raises:
        UserError: images outside [0, 1], an unknown algorithm, a number out of range, a victim that gives NaN.

    >>> import uapfp_dist as ufp
    >>> data = ufp.load("digits")
    >>> victim = ufp.train("A", data.victim_set, epochs=10)
    >>> found = ufp.uap(victim, data.victim_set, xi=2.4, held_out=data.probe, passes=5)
    >>> found.v.shape, round(float(found.v.norm()), 3), found.fooling_rate > 0.5
    (torch.Size([1, 1, 8, 8]), 2.4, True)
    """
    victim, images = checked_model(victim, "victim"), images_of(images, "images")
    if algorithm not in ALGORITHMS:
        raise unknown_name("UAP algorithm", algorithm, ALGORITHMS, argument="algorithm")
    if xi is not None:
        check_range("xi", xi, 1e-6)
        check_finite_number("xi", xi)
    check_whole("passes", passes)
    check_range("target_fooling", target_fooling, 0.0, 1.0)
    device = next(victim.parameters()).device
    images = images.to(device)
    watched = images if held_out is None else _of_same_shape(images_of(held_out, "held_out"), images).to(device)
    rng = torch_rng("uap", weights_digest(victim), digest(images), seed)
    outputs_of(victim, images, "victim", "images")
    if xi is not None:
        found = make_uap(victim, images, watched, xi, algorithm, passes, rng)
    else:
        norm = float(images.flatten(1).norm(dim=1).mean())
        grid = [share * norm for share in UapConfig.xi_grid]
        found = search_xi(victim, images, watched, grid, target_fooling, algorithm, passes, rng)
    if not bool(found.v.isfinite().all()):
        raise UserError("victim: expected finite gradients, got NaN or infinity; check its weights", argument="victim")
    return found


def _of_same_shape(held_out: Tensor, images: Tensor) -> Tensor:
    """One vector is added to both."""
    if held_out.shape[1:] != images.shape[1:]:
        expected, got = ("x".join(map(str, one.shape[1:])) for one in (images, held_out))
        raise UserError(
            f"held_out: expected images of {expected}, as images are, got {got}; scale them first", argument="held_out"
        )
    return held_out
