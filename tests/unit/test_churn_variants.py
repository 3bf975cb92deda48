"""Variants of an image: shifts, turns and mirrors are exact, and no stronger than they may be."""

import math
from dataclasses import replace

import pytest
import torch
from linear_nets import IMAGES, N_IMAGES
from torch import Tensor

from uapfp_dist.fingerprints.variants import Variants
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import ChurnConfig

STILL = ChurnConfig(rotation=0.0, shift=0.0, zoom=0.0)


def drawn(config: ChurnConfig, n: int = 500) -> Tensor:
    """(n, 2, 3)."""
    return Variants.draw(n, config, torch_rng("draw")).matrices


def applied(rows: list[list[float]], images: Tensor) -> Tensor:
    """One matrix for all images."""
    matrices = torch.tensor([rows], dtype=torch.float32).expand(len(images), 2, 3)
    return Variants(matrices).apply(images, slice(0, len(images)))


def test_a_variant_of_no_strength_is_the_image() -> None:
    same_images = Variants.draw(N_IMAGES, STILL, torch_rng("still")).apply(IMAGES, slice(0, N_IMAGES))
    torch.testing.assert_close(same_images, IMAGES, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_shift_of_whole_pixels_is_exact(shape: tuple[int, int]) -> None:
    """Pixels that come from beyond an edge are those of the edge."""
    images = torch.rand(3, 2, *shape, generator=torch_rng("shift"))
    right = applied([[1, 0, -2 * 2 / shape[1]], [0, 1, 0]], images)
    torch.testing.assert_close(right[..., 2:], images[..., :-2], rtol=0, atol=1e-5)
    torch.testing.assert_close(right[..., :2], images[..., :1].expand(-1, -1, -1, 2), rtol=0, atol=1e-5)
    up = applied([[1, 0, 0], [0, 1, 2 / shape[0]]], images)
    torch.testing.assert_close(up[..., :-1, :], images[..., 1:, :], rtol=0, atol=1e-5)


def test_a_disc_stays_a_disc_in_an_image_that_is_not_square() -> None:
    height, width = 24, 48
    rows, columns = torch.meshgrid(torch.arange(height) - 11.5, torch.arange(width) - 23.5, indexing="ij")
    disc = torch.sigmoid(2 * (8 - (rows**2 + columns**2).sqrt()))[None, None]
    angle = math.radians(40)
    turned = applied([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]], disc)
    torch.testing.assert_close(turned, disc, rtol=0, atol=0.1)


def test_a_quarter_turn_and_a_mirror_are_exact() -> None:
    turned = applied([[0, -1, 0], [1, 0, 0]], IMAGES)
    torch.testing.assert_close(turned, IMAGES.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    mirrored = applied([[-1, 0, 0], [0, 1, 0]], IMAGES)
    torch.testing.assert_close(mirrored, IMAGES.flip(3), rtol=0, atol=1e-5)


def test_variants_are_as_strong_as_they_may_be_and_no_stronger() -> None:
    config = ChurnConfig(rotation=12.0, shift=0.1, zoom=0.12)
    matrices = drawn(config)
    angle = torch.atan2(-matrices[:, 0, 1], matrices[:, 1, 1]) * 180 / math.pi
    scale = 1 / matrices[:, :, :2].det().sqrt()
    for values, largest in (
        (angle, 12.0),
        (scale - 1, 0.12),
        (matrices[:, 0, 2] / 2, 0.1),
        (matrices[:, 1, 2] / 2, 0.1),
    ):
        assert 0.95 * largest < float(values.max()) <= largest + 1e-4
        assert -largest - 1e-4 <= float(values.min()) < -0.95 * largest
        assert abs(float(values.mean())) < 0.1 * largest


def test_images_are_mirrored_only_when_asked() -> None:
    """A digit and a shoe have a handedness."""
    config = ChurnConfig()
    assert bool((drawn(config)[:, :, :2].det() > 0).all())
    mirrored = (drawn(replace(config, mirror=True))[:, :, :2].det() < 0).float().mean()
    assert 0.4 < float(mirrored) < 0.6


def test_variants_lie_in_the_range_of_images_and_do_not_depend_on_the_part() -> None:
    variants = Variants.draw(N_IMAGES, ChurnConfig(), torch_rng("parts"))
    whole = variants.apply(IMAGES, slice(0, N_IMAGES))
    assert 0.0 <= float(whole.min()) <= float(whole.max()) <= 1.0
    for part in (slice(3, 9), torch.tensor([4, 2])):
        assert torch.equal(variants.apply(IMAGES[part], part), whole[part])
