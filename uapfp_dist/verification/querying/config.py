"""The pace and limits at which a suspect is queried."""

import math
from dataclasses import dataclass

from uapfp_dist.errors import UserError


@dataclass(frozen=True)
class QueryConfig:
    """The pace and limits at which a suspect is queried."""

    max_queries: int | None = None
    """Images that may be sent in all (default: twice what the kit requires). Tries without a response and earlier runs
    count. The first run settles which images are sent: a larger number later allows more tries at the same ones."""
    batch_size: int = 64
    """Images per request, at most."""
    concurrency: int = 1
    """Requests in flight at once."""
    rate: float | None = None
    """Images per second, at most."""
    timeout: float = 60.0
    """Timeout of one request, in seconds."""
    total_timeout: float = 3600.0
    """Timeout of all requests together, in seconds."""
    tries: int = 8
    """Failed requests in a row after which the suspect is given up."""
    cold_start: float = 0.0
    """Seconds in which a server that starts cold may fail before its first answer: until then no failure counts as one
    of the tries. Each still counts as a query."""
    exact: bool = False
    """Send the images of the kit's exact sibling test, too. Kits whose exact test makes the claim always send them."""
    anyway: bool = False
    """Go on although the answers to the first images show that the suspect does not see them as the kit's models do, or
    are not what its output says; the verdict says so."""
    seed: int = 0
    """Seed of the order in which images are sent."""


def check_query_config(config: QueryConfig) -> None:
    """Accept what makes sense.

    Raises:
        UserError: a number below its least.
    """
    for name in ("max_queries", "batch_size", "concurrency", "tries"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name}: expected at least 1, got {value}", argument=name)
    for name in ("rate", "timeout", "total_timeout"):
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name}: expected a finite number above 0, got {value:g}", argument=name)
    if not 0 <= config.cold_start < math.inf:
        raise UserError(
            f"cold_start: expected a finite number of seconds, got {config.cold_start:g}", argument="cold_start"
        )
