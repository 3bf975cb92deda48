"""A suspect as it is queried with the images of a kit."""

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.http_template import HttpSuspect
from uapfp_dist.suspects.registry import Opener, open_suspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.verification.kit.kit import Kit


def open_for(kit: Kit, config: SuspectConfig, opener: Opener = open_suspect) -> Suspect:
    """Open a suspect for the images of a kit; nothing is sent yet.

    Raises:
        UserError: what `opener` raises; JPEG files are to be sent, and the kit has none.
    """
    suspect = opener(config, kit.shape, kit.n_classes)
    if isinstance(suspect, HttpSuspect) and suspect.takes_jpeg:
        if kit.jpeg is None:
            raise UserError(
                "request: expected {png} or {pixels}, this kit has no JPEG files, and the models that calibrate it "
                "got exact pixels; enroll with jpeg_quality, or send {png}, which most servers take beside JPEG",
                argument="request",
                options=("jpeg_quality",),
            )
        pixels = (image.numpy().tobytes() for image in kit.images)
        suspect.jpeg_files = dict(zip(pixels, kit.jpeg.files(), strict=True))
    return suspect
