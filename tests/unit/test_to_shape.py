"""Images brought into another shape: sides stretched, greys to colours and back."""

import pytest
import torch
from foreign_images import noise
from torchvision.transforms.functional import resize, rgb_to_grayscale

from uapfp_dist.data.to_shape import to_shape
from uapfp_dist.errors import UserError


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (40, 31)], ids=str)
def test_sides_are_stretched_as_torchvision_does(channels: int, size: tuple[int, int]) -> None:
    """Smaller and larger; without antialiasing a smaller image would be another."""
    images = noise(5, channels, 28, 20)
    found = to_shape(images, (channels, *size))
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (5, channels, *size))
    theirs = resize(images, list(size), antialias=True)
    assert int((found.int() - theirs.int()).abs().max()) <= 2
    if size == (8, 8):
        aliased = resize(images, list(size), antialias=False)
        assert int((found.int() - aliased.int()).abs().max()) > 50


def test_greys_get_three_equal_channels_and_colours_their_luma() -> None:
    greys, colours = noise(4, 1, 6, 7), noise(4, 3, 6, 7)
    assert torch.equal(to_shape(greys, (3, 6, 7)), greys.expand(-1, 3, -1, -1))
    found = to_shape(colours, (1, 6, 7))
    assert int((found.int() - rgb_to_grayscale(colours).int()).abs().max()) <= 1
    small = to_shape(greys, (3, 3, 3))
    assert torch.equal(small, to_shape(greys, (1, 3, 3)).expand(-1, 3, -1, -1))


def test_images_of_the_shape_stay_and_other_channels_are_refused() -> None:
    images = noise(2, 3, 5, 5)
    assert to_shape(images, (3, 5, 5)) is images
    for channels, wanted in ((4, 3), (3, 2)):
        with pytest.raises(UserError, match="expected 1 or 3 channels"):
            to_shape(noise(2, channels, 5, 5), (wanted, 5, 5))
