"""The register of a kit: which suspects were ever tested, when, with which set of points and which result.

It stands beside the kit's folder, which never changes. A *look* is one test of a suspect. Whoever tests enough
suspects accuses an independent one, and an operator that is sent the same points again may have prepared responses to
them; so every look counts, and a set that an operator has seen is not sent to it again.

Records are chained: none can be changed, dropped or moved unless all after it are written anew. Two things no chain
shows by itself: that its last lines were cut off, and that somebody wrote it anew from the start. Therefore a verdict
names the register's `head`: a register that does not contain the head of every verdict (`contains`) is not whole. A
copy of the kit elsewhere begins a register of its own; whoever judges takes the union of what verdicts name.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import BinaryIO

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line, printable
from uapfp_dist.verification.querying.records import Begin
from uapfp_dist.verification.register.chained_file import Chain, append, locked_file, read_all
from uapfp_dist.verification.register.history import (
    Look,
    adjusted_p_values,
    check_history,
    findings,
    looks_of,
    released_of,
)
from uapfp_dist.verification.register.operator import operator_name
from uapfp_dist.verification.register.records import (
    Decided,
    Opened,
    Record,
    Recovered,
    Released,
    Reserved,
    decode_record,
    encode_record,
    reservation,
)

SUFFIX = ".register.jsonl"
LONGEST_TORN = 4096
"""Characters of a torn line that are kept."""


def register_path(kit_folder: str | Path) -> Path:
    """Where the register of the kit in a folder stands: beside that folder, links resolved."""
    folder = Path(kit_folder).resolve()
    return folder.with_name(folder.name + SUFFIX)


class Register:
    """What `open` read of a file. Every change first reads what other processes have appended since.

    Safe to use from several threads and processes; it stays on the machine that opened it.
    """

    def __init__(self, path: Path, kit: str) -> None:
        self.path, self.kit = path, kit
        self._mutex = RLock()
        self._file: BinaryIO | None = None
        self._chain = Chain((), ())
        self._records: tuple[Record, ...] = ()

    @classmethod
    def open(cls, path: Path, kit: str, *, create: bool = False) -> "Register":
        """Read a register and check all of it.

        Args:
            path: of its file, see `register_path`.
            kit: digest of the kit that it must be of.
            create: begin one where there is none; else that is an error, as it may have been removed.

        Raises:
            UserError: no register, another kit's, one that was changed or cannot be read.
        """
        register = cls(path, kit)
        if create and not _has_content(path):
            with locked_file(path, write=True, create=True) as file:
                if not (chain := read_all(file, path)).bodies and not chain.torn:
                    append(file, path, chain, [encode_record(Opened(_now(), kit))])
        with locked_file(path) as file:
            register._take(read_all(file, path))
        return register

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the register inside the block: to choose a set and reserve it in one step.

        Keep it short: others wait, for `LOCK_SECONDS` at most.

        Raises:
            UserError: it cannot be written, another process keeps it, or it is no longer the one that was opened.
        """
        with self._mutex:
            if self._file is not None:
                yield
                return
            with locked_file(self.path, write=True) as self._file:
                try:
                    self._take(read_all(self._file, self.path))
                    yield
                finally:
                    self._file = None

    def read_again(self) -> None:
        """Take what other processes have appended since.

        Raises:
            UserError: it cannot be read, or is no longer the one that was opened.
        """
        with self._mutex, locked_file(self.path) as file:
            self._take(read_all(file, self.path))

    @property
    def head(self) -> str:
        """64 hex digits over all that is in it; a verdict names it."""
        return self._chain.head

    def as_reserved(self, tests: Collection[str]) -> tuple[str, tuple[Look, ...]]:
        """(head, looks) when the last of these tests was reserved, which their verdict names; as of now without any.

        What other processes append until they are decided makes no difference.
        """
        n = max((look.reserved_line for look in self.looks if look.test in tests), default=len(self._records))
        return (self._chain.digests[n - 1] if n else self.head), looks_of(self._records[:n])

    def contains(self, head: str) -> bool:
        """Whether it is, or goes on from, the register that had this head."""
        return head in self._chain.digests

    @property
    def looks(self) -> tuple[Look, ...]:
        """All tests ever begun, in their order."""
        return looks_of(self._records)

    @property
    def released(self) -> tuple[tuple[Reserved, Released], ...]:
        """Tests that were reserved and given back, each with how: no looks, as nothing of their set was sent."""
        return released_of(self._records)

    @property
    def findings(self) -> tuple[str, ...]:
        """What a reader should know of it, a line each."""
        return findings(self._records, self._chain.torn)

    def spent(self, operator: str) -> frozenset[int]:
        """Indices of the sets that a suspect of this operator may have seen."""
        operator = operator_name(operator)
        return frozenset(look.point_set for look in self.looks if look.operator == operator)

    def next_set(self, operator: str, n_sets: int) -> int:
        """The first set that this operator has not seen.

        Args:
            operator: see `operator_of`.
            n_sets: of the kit.

        Raises:
            UserError: it has seen all of them.
        """
        spent = self.spent(operator)
        for index in range(n_sets):
            if index not in spent:
                return index
        raise UserError(
            f"operator {one_line(operator, 60)}: expected a set of points that this operator has not seen, all "
            f"{n_sets} are spent; enroll again (nothing was sent)",
            argument="operator",
        )

    def reserve(self, begin: Begin, operator: str, point_set: int) -> Look:
        """A test is about to begin; on the disk when this returns. One that is there already stays as it is.

        Args:
            begin: the first record of its transcript.
            operator: see `operator_of`.
            point_set: which set it is queried by.

        Raises:
            UserError: the operator has seen this set in another test; the register cannot be written.
        """
        if begin.kit != self.kit:
            raise ValueError(f"a test of kit {begin.kit:.16} in the register of {self.kit:.16}")
        with self.locked():
            record = reservation(begin, operator_name(operator), point_set, _now())
            if found := next((look for look in self.looks if look.test == record.test), None):
                return found
            if point_set in self.spent(operator):
                raise UserError(
                    f"operator {record.operator}: set {point_set} of the kit's points was given to another test of "
                    "this operator; verify in another folder (nothing was sent)",
                    argument="operator",
                )
            self._append(record)
            return Look(record)

    def decide(
        self,
        test: str,
        p_value: float,
        wire_format: str,
        transcript_sha256: str,
        claim: str,
        p_adjusted: float | None = None,
    ) -> Look:
        """The result of a reserved test; on the disk when this returns. The same result again adds nothing.

        Args:
            test: its id.
            p_value: in [0, 1], before any correction.
            wire_format: of the responses.
            transcript_sha256: 64 hex digits.
            claim: of its verdict.
            p_adjusted: of its verdict, in [p_value, 1]: the p-value after the correction.

        Raises:
            UserError: it has another result already; the register cannot be written.
            ValueError: it was never reserved; no p-value, no digest.
        """
        with self.locked():
            record = Decided(_now(), test, float(p_value), wire_format, transcript_sha256, claim, p_adjusted)
            look = next((look for look in self.looks if look.test == test), None)
            if look is None:
                raise ValueError(f"a result of test {test:.16}, which was never reserved")
            if look.decided is None:
                self._append(record)
                return Look(look.reserved, record)
            if not look.decided.same_result(record):
                raise UserError(
                    f"register {self.path}: expected the result that it holds of {one_line(look.name, 60)} (p "
                    f"{look.decided.p_value:.4g}, transcript {look.decided.transcript_sha256[:16]}...), got p "
                    f"{p_value:.4g}, transcript {transcript_sha256[:16]}...; a test is decided once: replay the first "
                    "transcript by the version that decided"
                )
            return look

    def release(self, test: str) -> None:
        """A reserved test sent no image of its set: it does not count. One that was decided stays."""
        with self.locked():
            if any(look.test == test and look.decided is None for look in self.looks):
                self._append(Released(_now(), test))

    def adjusted(self, max_suspects: int | None) -> dict[str, float]:
        """Test to its corrected p-value, as its verdict says; one without a result counts as p = 1.

        Args:
            max_suspects: that the kit was enrolled for; None: it does not say.
        """
        return adjusted_p_values(self.looks, max_suspects)

    def _take(self, chain: Chain) -> None:
        """Go on from what the file holds now."""
        if self.head and not (chain.digests[: len(self._records)] == self._chain.digests):
            raise UserError(
                f"register {self.path}: lines that were read a moment ago are gone; restore it from a copy, nobody "
                "else may write it"
            )
        records: list[Record] = list(self._records)
        for number, body in enumerate(chain.bodies[len(records) :], len(records) + 1):
            try:
                records.append(decode_record(body))
            except ValueError as error:
                raise UserError(
                    f"register {self.path}: expected a record in line {number}, got something else "
                    f"({one_line(error)}); restore it from a copy"
                ) from error
        check_history(records, self.path, self.kit)
        self._chain, self._records = chain, tuple(records)

    def _append(self, record: Record) -> None:
        assert self._file is not None
        records = [record]
        if self._chain.torn:
            torn = printable(self._chain.torn[:LONGEST_TORN].decode("utf-8", "replace"))
            records.insert(0, Recovered(record.at, torn))
        bodies = [encode_record(one) for one in records]
        for body in bodies:
            decode_record(body)  # what could not be read again is not written
        self._chain = append(self._file, self.path, self._chain, bodies)
        self._records = (*self._records, *records)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:  # opening it says why
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
