"""Which set of churn points each suspect is sent, settled in the kit's register before anything is sent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.records import Begin, Sent
from uapfp_dist.verification.querying.transcript import stored_records
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.records import id_of_test
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import JudgedSuspect


def choose_point_sets(
    kit: Kit, register: Register | None, suspects: Sequence[tuple[SuspectConfig, Begin, Path]]
) -> dict[str, int]:
    """Name of a suspect to the set that it is sent; each is reserved in the register.

    Args:
        kit: with churn points.
        register: of the kit; None: every suspect is sent the first set, and nothing is kept.
        suspects: each with how its transcript would begin, but for the set, and where that lies: it says the set where
            it is there already.

    Raises:
        UserError: an operator has seen all sets; the register cannot be written.
    """
    assert kit.churn is not None
    found: dict[str, int] = {}
    for config, begin, path in suspects:
        stored = stored_begin(path)
        if register is None:
            found[config.display_name] = (stored and stored.point_set) or 0
            continue
        operator = operator_of(config)
        with register.locked():
            if stored is None:
                stored = begin_with(begin, register.next_set(operator, kit.churn.n_sets))
            register.reserve(stored, operator, stored.point_set or 0)
        found[config.display_name] = stored.point_set or 0
    return found


def begin_with(begin: Begin, point_set: int) -> Begin:
    """The first record of a transcript by one set."""
    return replace(begin, point_set=point_set)


def stored_begin(path: Path) -> Begin | None:
    """The first record of a transcript; None where there is none."""
    first = next(iter(stored_records(path)), None)
    return first if isinstance(first, Begin) else None


def release_unsent(register: Register, paths: Sequence[Path]) -> None:
    """What was reserved for a suspect that was sent nothing is given back."""
    for path in paths:
        records = stored_records(path)
        if records and isinstance(begin := records[0], Begin) and not any(isinstance(r, Sent) for r in records):
            register.release(test_of(begin))


def test_of(begin: Begin) -> str:
    """The id of a test in the register."""
    return id_of_test(begin, begin.point_set or 0)


def other_looks(register: Register | None, begins: Sequence[Begin]) -> OtherLooks:
    """All looks but those at these suspects."""
    if register is None:
        return OtherLooks()
    own = {test_of(begin) for begin in begins}
    return OtherLooks(tuple(look.p_value for look in register.looks if look.test not in own), register.head)


def write_results(register: Register, cases: Sequence[JudgedSuspect]) -> None:
    """The result of every suspect that was fully queried; the same again adds nothing."""
    for case in cases:
        if not case.stopped:
            v = case.verdict
            register.decide(test_of(case.begin), v.p_value, v.format, case.sha256, v.claim)
