"""Which set of churn points each suspect is sent, settled in the kit's register before anything is sent."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin
from uapfp_dist.verification.querying.transcript import Transcript, stored_records
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.records import id_of_test
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import JudgedSuspect


def choose_point_sets(
    kit: Kit, register: Register | None, suspects: Sequence[tuple[SuspectConfig, Begin, Path]]
) -> dict[str, int]:
    """Name of a suspect to the set that it is sent; each has a transcript and is reserved in the register.

    Args:
        kit: with churn points.
        register: of the kit; None: every suspect is sent the first set, and nothing is kept.
        suspects: each with how its transcript would begin, but for the set, and where that lies: it says the set where
            it is there already.

    Raises:
        UserError: an operator has seen all sets; the register or a transcript cannot be written. What was reserved for
            the others is given back.
    """
    assert kit.churn is not None
    found: dict[str, int] = {}
    fresh: list[Path] = []
    try:
        for config, begin, path in suspects:
            stored = stored_begin(path)
            if register is not None:
                fresh += [path] if stored is None else []
                with register.locked():
                    stored = _reserved(kit.churn.n_sets, register, operator_of(config), begin, path)
            found[config.display_name] = (stored and stored.point_set) or 0
    except BaseException:
        if register is not None:
            release_unsent(register, fresh)
        for path in fresh:
            path.unlink(missing_ok=True)
        raise
    return found


def _reserved(n_sets: int, register: Register, operator: str, begin: Begin, path: Path) -> Begin:
    """How the transcript of a suspect begins, once its set is reserved."""
    stored = stored_begin(path)
    if stored is not None and not _was_sent(path) and test_of(stored) not in {look.test for look in register.looks}:
        path.unlink()  # nothing came of it, and by now its set may be spent
        stored = None
    if stored is None:
        # The transcript first: what is reserved and has none, as after a crash, would count for ever.
        Transcript(path, begin_with(begin, register.next_set(operator, n_sets))).close()
        stored = stored_begin(path)
    assert stored is not None
    register.reserve(stored, operator, stored.point_set or 0)
    return stored


def begin_with(begin: Begin, point_set: int) -> Begin:
    """The first record of a new transcript by one set; no other one is the same."""
    return replace(begin, point_set=point_set, nonce=secrets.token_hex(8))


def stored_begin(path: Path) -> Begin | None:
    """The first record of a transcript; None where there is none."""
    first = next(iter(stored_records(path)), None)
    return first if isinstance(first, Begin) else None


def _was_sent(path: Path) -> bool:
    """Whether anything may have reached the suspect of a transcript."""
    return Ledger(stored_records(path)).queries > 0


def release_unsent(register: Register, paths: Sequence[Path]) -> None:
    """What was reserved for a suspect that no image can have reached is given back."""
    for path in paths:
        if (begin := stored_begin(path)) is None:
            continue
        try:
            transcript = Transcript(path, begin)
        except UserError:  # another process is querying that suspect
            continue
        try:
            if Ledger(transcript.records).queries == 0:
                register.release(test_of(begin))
        finally:
            transcript.close()


def test_of(begin: Begin) -> str:
    """The id of a test in the register."""
    return id_of_test(begin, begin.point_set or 0)


def other_looks(register: Register | None, begins: Sequence[Begin]) -> OtherLooks:
    """All looks but those at these suspects."""
    if register is None:
        return OtherLooks()
    own = {test_of(begin) for begin in begins}
    return OtherLooks(
        tuple(look.p_value for look in register.looks if look.test not in own), register.head_without(own)
    )


def write_results(register: Register, cases: Sequence[JudgedSuspect]) -> None:
    """The result of every suspect that was fully queried; the same again adds nothing."""
    for case in cases:
        if not case.stopped:
            v = case.verdict
            register.decide(test_of(case.begin), v.p_value, v.format, case.sha256, v.claim)
