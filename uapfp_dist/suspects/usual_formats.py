"""The forms in which image classifiers usually take their input."""

from collections.abc import Iterator
from dataclasses import replace

from uapfp_dist.suspects.input_format import Channels, InputFormat, Layout, Scale

Values = tuple[Scale, tuple[float, ...], tuple[float, ...]]
"""(scale, mean, std)."""

PIXELS: tuple[Values, ...] = (("0-1", (), ()), ("0-255", (), ()), ("signed", (), ()))
GREY: tuple[Values, ...] = (("0-1", (0.1307,), (0.3081,)), ("0-1", (0.2860,), (0.3530,)))
"""Of MNIST and Fashion-MNIST."""
COLOUR: tuple[Values, ...] = (
    ("0-1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("0-1", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
)
"""Of ImageNet, as torchvision's weights have it, and of CIFAR-10."""
CAFFE: Values = ("0-255", (103.939, 116.779, 123.68), ())
"""Of nets that came from Caffe, in the order BGR."""


def usual_formats(given: InputFormat, shape: tuple[int, int, int]) -> Iterator[list[InputFormat]]:
    """Groups of forms with the same layout and channels, the given one first; size and resampling stay as given.

    Args:
        given: tried first, with its own values before the usual ones.
        shape: (c, h, w) of the kit's images.
    """
    others: tuple[Channels, ...] = {1: ("same", "RGB"), 3: ("RGB", "BGR")}.get(shape[0], ("same",))  # type: ignore[assignment]
    layouts: tuple[Layout, ...] = ("NCHW", "NHWC", "NHW", "flat")
    groups = [(layout, c) for c in others for layout in layouts if layout != "NHW" or (shape[0] == 1 and c == "same")]
    own = given.layout, "RGB" if given.channels == "same" and shape[0] == 3 else given.channels
    groups = list(dict.fromkeys([own, *groups]))
    for layout, channels in groups:
        # RGB of three channels is what `same` gives.
        named: Channels = "same" if channels == "RGB" and shape[0] == 3 else channels
        three = shape[0] == 3 or channels != "same"
        usual = [*PIXELS, *(GREY if shape[0] == 1 else ()), *(COLOUR if three else ())]
        usual += [CAFFE] if channels == "BGR" else []
        values = dict.fromkeys([(given.scale, given.mean, given.std), *usual])
        formats = [
            replace(given, layout=layout, channels=named, scale=scale, mean=mean, std=std)
            for scale, mean, std in values
            if max(len(mean), len(std)) in (0, 1, 3 if channels != "same" else shape[0])
        ]
        yield formats
