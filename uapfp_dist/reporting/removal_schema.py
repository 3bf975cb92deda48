"""The numbers of the section about removal attacks, as they stand in a report's JSON."""

from dataclasses import dataclass

from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class ShareCaught:
    """By one test: a method within a budget, or the exact sibling test."""

    test: str
    """The method's name, or `exact`."""
    images: int
    """Sent at most."""
    share: Number
    low: Number
    high: Number
    """95 % over the models that were attacked, or the victims of models stolen from others; NaN where there are few."""


@dataclass(frozen=True, kw_only=True)
class RemovalGroup:
    """Models of one role to which one thing was done."""

    role: str
    change: str
    """What was done; `as it is`: nothing."""
    made: int
    models: int
    """Of those made, how many answered and were tested in a resample: the following are theirs."""
    accuracy: Number
    accuracy_lost: Number
    """Against the models that they were made of, or, where these, too, were made so from the start, the unchanged ones
    of their side."""
    caught: tuple[ShareCaught, ...]
