"""Which set of churn points each suspect is sent, settled in the kit's register before anything is sent."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.judging.calibration import how_to_decide, max_suspects, smallest_alpha
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.verdict import PIRACY
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Record
from uapfp_dist.verification.querying.transcript import Transcript, difference, stored_records
from uapfp_dist.verification.register.history import Look
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.records import id_of_test
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import JudgedSuspect

SET_ASIDE = ".old"
"""Ends the name of a transcript in whose place another command has begun one."""


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
        UserError: more suspects than the kit can decide, with those that others asked about a moment ago; an operator
            has seen all sets; the register or a transcript cannot be written. What was reserved for the others is given
            back.
    """
    assert kit.churn is not None
    if register is None:
        begun = {config.display_name: stored_begin(path) for config, _, path in suspects}
        return {name: (begin and begin.point_set) or 0 for name, begin in begun.items()}
    found: dict[str, int] = {}
    fresh = [path for _, _, path in suspects if stored_begin(path) is None]
    with register.locked():  # nobody else comes between the count and the last reservation
        check_number(kit, suspects[0][1].judged.alpha, [path for _, _, path in suspects], register)
        try:
            for config, begin, path in suspects:
                stored = _reserved(kit, register, operator_of(config), begin, path)
                found[config.display_name] = stored.point_set or 0
        except BaseException:
            release_begun(kit, register, fresh)
            for path in fresh:
                path.unlink(missing_ok=True)
            raise
    return found


def check_number(kit: Kit, alpha: float, paths: Sequence[Path], register: Register | None) -> None:
    """Not more suspects in all than the kit can decide about, those tested with it before counted.

    Beside a register no look is begun at an alpha at which nothing can be decided, whatever is answered.

    Args:
        kit: that decides.
        alpha: tolerated rate of false accusation.
        paths: where the transcript of each suspect lies, or will lie.
        register: of the kit; None: nobody knows of others.

    Raises:
        UserError: there are more, or that alpha is too small.
    """
    most = max_suspects(kit, alpha)
    before = len(other_looks(kit, register, [begin for path in paths if (begin := stored_begin(path))]).p_values)
    if len(paths) + before > max(most, 1):  # of a single one without a register the verdict says so
        seen = f" after {before} tested with it before (its register lists them)" if before else ""
        raise UserError(
            f"suspects: in all this kit can decide at most {most} at alpha {alpha:g}, got {len(paths)}{seen}; "
            f"nothing was sent; {how_to_decide(kit, alpha, len(paths) + before)}",
            options=("max_suspects",),
        )
    if not most and register is not None and not all(is_look(kit, stored_records(path)) for path in paths):
        raise UserError(
            f"alpha: expected at least {smallest_alpha(kit):g}, the smallest at which this kit can decide, got "
            f"{alpha:g}; give a larger one, or enroll a kit at alpha {alpha:g} (nothing was sent)",
            argument="alpha",
        )


def _reserved(kit: Kit, register: Register, operator: str, begin: Begin, path: Path) -> Begin:
    """How the transcript of a suspect begins, once its set is reserved."""
    assert kit.churn is not None
    stored = stored_begin(path)
    known = stored is not None and test_of(stored) in {look.test for look in register.looks}
    if stored is not None and is_look(kit, stored_records(path)):
        if not known:  # reserving it now would let whoever looked often without the register keep the best look
            raise UserError(
                f"transcript {path}: it holds answers to a look that the register {register.path} does not hold: lines "
                "were removed from it, or the look was made without it; restore the register from a copy, or verify "
                "in another folder (nothing was sent)",
                argument="out",
            )
    elif stored is not None:
        changed = difference(replace(stored, point_set=begin.point_set), begin)
        if changed or not Ledger(stored_records(path)).queries:
            Transcript(path, stored).close()  # nobody else is querying
            if known:
                register.release(test_of(stored))
            path.replace(path.with_name(path.name + SET_ASIDE))  # a command that was mended begins anew
            stored = None
    if stored is None:
        # The transcript first: what is reserved and has none, as after a crash, would count for ever.
        Transcript(path, begin_with(begin, register.next_set(operator, kit.churn.n_sets))).close()
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


def is_look(kit: Kit, records: Sequence[Record]) -> bool:
    """Whether more was sent than the images that check the input: those are evidence for nobody, and in no set."""
    checks = () if kit.input_check is None else kit.input_check.first.tolist()
    return not Ledger(records).asked <= set(checks)


def release_begun(kit: Kit, register: Register, paths: Sequence[Path]) -> None:
    """What was reserved for a suspect that was sent no more than the images that check the input is given back."""
    for path in paths:
        if (begin := stored_begin(path)) is None:
            continue
        try:
            transcript = Transcript(path, begin)
        except UserError:  # another process is querying that suspect
            continue
        try:
            if not is_look(kit, transcript.records):
                register.release(test_of(begin))
        finally:
            transcript.close()


def test_of(begin: Begin) -> str:
    """The id of a test in the register."""
    return id_of_test(begin, begin.point_set or 0)


def other_looks(kit: Kit, register: Register | None, begins: Sequence[Begin]) -> OtherLooks:
    """All looks but those at these suspects, as far as they count for their verdict.

    One not claimed though its corrected p-value is small enough now counts as p = 1: earlier code decided it so
    for answers that are not sane. Verdicts of that time took it by its p-value, and still do.
    """
    if register is None:
        return OtherLooks()
    own = {test_of(begin): begin.name for begin in begins}
    looks, adjusted = register.looks, register.adjusted(kit.info.max_suspects)
    mine = [look for look in looks if look.test in own]
    reserved = min((look.reserved_line for look in mine), default=math.inf)
    others = [look for look in looks if look.test not in own]
    alpha = max((begin.judged.alpha for begin in begins if begin.fatal_is_one), default=0.0)
    head, by_then = register.as_reserved(own)

    def counted(look: Look) -> float:
        if look.decided is None or look.decided_line >= reserved:
            return 1.0
        p = adjusted[look.test]
        return 1.0 if look.decided.claim != PIRACY and p <= alpha + 1e-12 else p

    return OtherLooks(
        tuple(counted(look) for look in others),
        head,
        sum(look.test not in own for look in by_then),
        {own[look.test]: look.decided.p_adjusted for look in mine if look.decided and look.decided.p_adjusted},
    )


def write_results(register: Register, cases: Sequence[JudgedSuspect], operators: Mapping[str, str]) -> None:
    """The result of every suspect that was fully queried; the same again adds nothing.

    Args:
        register: of the kit.
        cases: with their verdicts.
        operators: name of a suspect to who runs it: where folders cannot be locked another command may have given its
            look back, and it is reserved again.
    """
    for case in cases:
        if not case.stopped:
            v = case.verdict
            register.reserve(case.begin, operators[v.name], case.begin.point_set or 0)
            register.decide(test_of(case.begin), v.p_value, v.format, case.sha256, v.claim, v.p_adjusted)
