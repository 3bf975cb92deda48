"""Which fields of a suspect's configuration its protocol reads: the others are refused, not passed over."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from urllib.parse import urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig

TLS = ("ca", "client_certificate", "client_key", "any_certificate")
"""Fields of a connection by https."""
CONNECTION = ("headers", "proxy", "polling", *TLS)
HTTP = ("request", "answer", *CONNECTION)
"""Fields of any protocol over HTTP that a request and an answer describe."""
OWN: Mapping[str, tuple[str, ...]] = {
    "oip": ("tensor", "output_tensor", "datatype", "binary", *CONNECTION),
    "onnx": ("output_tensor",),
    "weights": ("architecture", "width", "ignore_surplus"),
    "python": (),
}
"""Protocol to the fields that it reads beside those of all; protocols that are not here read those of `HTTP`."""


def check_own_fields(config: SuspectConfig) -> None:
    """Accept a configuration each of whose fields is read.

    Raises:
        UserError: a field of another protocol, or one that does nothing beside the others.
    """
    own = OWN.get(config.protocol, HTTP)
    for name in dict.fromkeys(name for names in (*OWN.values(), HTTP) for name in names):
        if name not in own and _given(config, name):
            readers = [kind for kind, names in OWN.items() if name in names]
            readers += ["http and its named ones"] if name in HTTP else []
            raise UserError(
                f"{name}: expected none for a suspect of kind {config.protocol}, got one; leave it out, it is for "
                f"kind {', '.join(readers)}",
                argument=name,
            )
        if name in TLS and _given(config, name) and urlsplit(config.at).scheme == "http":
            raise UserError(
                f"{name}: expected none for a suspect at http://, which shows and takes no certificate, got one; leave "
                "it out, or give its address with https://",
                argument=name,
            )
    if _given(config, "resampling") and not config.size:
        raise UserError(
            f"resampling: expected size beside it, without which no image is resized, got {config.resampling}; give "
            "it, or leave this out",
            argument="resampling",
        )


def _given(config: SuspectConfig, name: str) -> bool:
    """Whether a field differs from its default."""
    item = next(item for item in fields(config) if item.name == name)
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return bool(getattr(config, name) != default)
