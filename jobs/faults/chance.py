"""Which death a run has: all of it follows from one number."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from faults.work import Kind

Victim = Literal["worker host", "driver", "central actor", "S3 server"]
VICTIMS: Mapping[Kind, tuple[Victim, ...]] = {
    "evaluation": ("worker host", "driver", "central actor", "S3 server"),
    "enrolment": ("worker host", "driver", "S3 server"),  # it has no central actor
}
EARLY_SECONDS = 20.0
"""From the submission, in which the job starts: a death before the first model comes in them."""
BETWEEN_SECONDS = 1.0
"""After a model."""
LATE_SECONDS = 12.0
"""After the last model: models are asked, the central actor judges, or the kit is fitted."""
JOIN_SECONDS = 10.0
"""At most, after which another host joins."""


@dataclass(frozen=True)
class Fault:
    """A death."""

    victim: Victim
    after: int
    """Models that are stored before it."""
    delay: float
    """Seconds from then; where `after` is 0, from the submission."""
    silent: bool
    """A host or server whose cable is pulled first: connections hang. Else they break."""
    which: float
    """In [0, 1): the place of the victim among its like."""
    joins_after: float
    """Seconds until another host joins in place of a lost one."""


def draw_fault(seed: int, kind: Kind, n_models: int) -> Fault:
    """A random death: a fifth of them while the job starts, three while models are made, a fifth after that.

    Args:
        seed: of all of it. Seeds that follow each other are dealt the victims as cards: each once, then again.
        kind: what is disturbed.
        n_models: of an undisturbed run.
    """
    rng, victims = random.Random(f"{kind} {seed}"), VICTIMS[kind]
    deal = random.Random(f"{kind} deal {seed // len(victims)}").sample(victims, len(victims))
    phase = rng.choice(("early", "between", "between", "between", "late"))
    after = {"early": 0, "between": rng.randrange(1, n_models), "late": n_models}[phase]
    seconds = {"early": EARLY_SECONDS, "between": BETWEEN_SECONDS, "late": LATE_SECONDS}[phase]
    return Fault(
        deal[seed % len(victims)],
        after,
        delay=round(rng.uniform(0.0, seconds), 2),
        silent=rng.random() < 0.5,
        which=round(rng.random(), 3),
        joins_after=round(rng.uniform(0.0, JOIN_SECONDS), 1),
    )
