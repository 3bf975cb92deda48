"""What the records of a register say when they are read in order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.statistics.holm import holm_after
from uapfp_dist.verification.register.records import Decided, Opened, Record, Recovered, Released, Reserved


@dataclass(frozen=True)
class Look:
    """One test: a suspect that was looked at."""

    reserved: Reserved
    decided: Decided | None = None
    """None: it was never fully queried, or not yet."""
    reserved_line: int = 0
    """Of the register, from 1 on."""
    decided_line: int = 0
    """0: it has no result."""

    @property
    def test(self) -> str:
        """Its id."""
        return self.reserved.test

    @property
    def name(self) -> str:
        """The suspect's."""
        return self.reserved.name

    @property
    def operator(self) -> str:
        """Who runs the suspect."""
        return self.reserved.operator

    @property
    def point_set(self) -> int:
        """Which of the kit's sets it was queried by."""
        return self.reserved.point_set

    @property
    def p_value(self) -> float:
        """In [0, 1]; 1 where there is no result: whoever gives up a test that goes badly gains nothing."""
        return 1.0 if self.decided is None else self.decided.p_value


def looks_of(records: Sequence[Record]) -> tuple[Look, ...]:
    """The tests in records that `check_history` found in order."""
    looks: dict[str, Look] = {}
    for number, record in enumerate(records, 1):
        if isinstance(record, Reserved):
            looks[record.test] = Look(record, reserved_line=number)
        elif isinstance(record, Decided):
            looks[record.test] = replace(looks[record.test], decided=record, decided_line=number)
        elif isinstance(record, Released):
            del looks[record.test]
    return tuple(looks.values())


def released_of(records: Sequence[Record]) -> tuple[tuple[Reserved, Released], ...]:
    """Reservations that were given back, each with how, in the order in which that was."""
    reserved: dict[str, Reserved] = {}
    found = []
    for record in records:
        if isinstance(record, Reserved):
            reserved[record.test] = record
        elif isinstance(record, Released):
            found.append((reserved[record.test], record))
    return tuple(found)


def adjusted_p_values(looks: Sequence[Look], max_suspects: int | None) -> dict[str, float]:
    """Test to its p-value, corrected for the looks up to then as its verdict was; 1 without a result.

    Of results that do not say it, as earlier code wrote them, each is taken as judged alone: never too small.

    Args:
        looks: all of a register.
        max_suspects: that the kit was enrolled for; None: it does not say, and all looks are corrected for.
    """
    found = {look.test: 1.0 for look in looks}
    for look in sorted((look for look in looks if look.decided), key=lambda look: look.decided_line):
        assert look.decided is not None
        n_tests, earlier = max(len(looks), max_suspects or 0), list[float]()
        if max_suspects is not None:
            earlier = [found[other.test] for other in looks if 0 < other.decided_line < look.reserved_line]
        stated = look.decided.p_adjusted if max_suspects is not None else None
        found[look.test] = holm_after([look.p_value], earlier, n_tests)[0] if stated is None else stated
    return found


def check_history(records: Sequence[Record], path: Path, kit: str) -> None:
    """A chain of digests does not say that the records make sense.

    Raises:
        UserError: no register, another kit's, or one with a record that cannot follow those before it.
    """
    first = records[0] if records else None
    if not isinstance(first, Opened):
        raise UserError(
            f"register {path}: expected a first line that names its kit, there is none; restore it from a copy, or "
            "remove it where nothing was ever tested"
        )
    if first.kit != kit:
        raise UserError(
            f"register {path}: it is of kit {first.kit[:16]}..., this one is {kit[:16]}...; keep each beside its own"
        )
    reserved, decided = set[str](), set[str]()
    for number, record in enumerate(records[1:], 2):
        if isinstance(record, Reserved):
            problem = "reserves a test a second time" if record.test in reserved else ""
            reserved.add(record.test)
        elif isinstance(record, Decided):
            problem = "decides a test a second time" if record.test in decided else ""
            problem = problem if record.test in reserved else "decides a test that was never reserved"
            if record.p_adjusted is not None and record.p_adjusted < record.p_value:
                problem = "corrects a p-value to a smaller one"
            decided.add(record.test)
        elif isinstance(record, Released):
            problem = "" if record.test in reserved - decided else "releases a test that is not open"
            reserved.discard(record.test)
        else:
            problem = "begins a register a second time" if isinstance(record, Opened) else ""
        if problem:
            raise UserError(f"register {path}: line {number} {problem}; restore it from a copy")


def findings(records: Sequence[Record], torn: bytes) -> tuple[str, ...]:
    """What a reader should know, a line each, where the chain is whole all the same."""
    found = []
    for number, (before, record) in enumerate(pairwise(records), 2):
        if datetime.fromisoformat(record.at) < datetime.fromisoformat(before.at):
            found.append(
                f"line {number}: its time is before that of line {number - 1}: clocks differ, or one was set back; the "
                "order of lines counts"
            )
        if isinstance(record, Recovered):
            found.append(f"line {number}: {_TORN}; what was there: {record.torn[:80]}")
    if torn:
        found.append(f"after the last line: {_TORN} ({len(torn)} bytes)")
    return tuple(found)


_TORN = "a line was broken off, as by a killed process, and never counted"
