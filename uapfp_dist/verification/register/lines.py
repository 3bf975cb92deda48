"""A register as text."""

from uapfp_dist.messages import one_line, printable
from uapfp_dist.verification.register.history import Look
from uapfp_dist.verification.register.records import Reserved
from uapfp_dist.verification.register.register import Register


def register_lines(register: Register, max_suspects: int | None = None) -> list[str]:
    """A line for each look: when, which suspect, which set, which result; without control characters.

    Reservations that were given back follow: that nothing was sent rests on the transcript, which is the owner's.

    The p-values in brackets are those of the verdicts: corrected for all suspects that the kit was enrolled for, with
    the looks up to then; or for all looks as of now, where it does not say for how many.

    Args:
        register: of the kit.
        max_suspects: that the kit was enrolled for; None: it does not say.
    """
    looks, adjusted = register.looks, register.adjusted(max_suspects)
    n_corrected = max(len(looks), max_suspects or 0)
    n_operators = len({look.operator for look in looks})
    released = register.released
    given_back = f", given back {len(released)}" if released else ""
    first = (
        f"register of kit {register.kit[:16]}...: suspects tested {len(looks)}, operators {n_operators}"
        f"{given_back}, head {register.head[:16]}..."
    )
    lines = [_line(look, adjusted[look.test], n_corrected) for look in looks]
    lines += [
        f"{_asked(reserved)}: given back {one_line(record.at)}, as its transcript said that nothing of the set was sent"
        for reserved, record in released
    ]
    return [first, *lines, *map(printable, register.findings)]


def _asked(reserved: Reserved) -> str:
    """When who was asked, by which set."""
    who = one_line(reserved.name, 80)
    if reserved.address not in ("", reserved.name):
        who += f" at {one_line(reserved.address, 120)}"
    if reserved.file_sha256:
        who += f" (file {one_line(reserved.file_sha256, 8)}...)"
    return f"{one_line(reserved.at)}  {who}, operator {one_line(reserved.operator, 80)}, set {reserved.point_set}"


def _line(look: Look, adjusted: float, n_corrected: int) -> str:
    asked, decided = _asked(look.reserved), look.decided
    if decided is None:
        return f"{asked}: no result, counts as p = 1"
    p = f"p {decided.p_value:.3g} (corrected for {n_corrected}: {adjusted:.3g})"
    return (
        f"{asked}: {p}, {one_line(decided.format, 20)}, {one_line(decided.claim, 80)}, transcript "
        f"{decided.transcript_sha256[:8]}..."
    )
