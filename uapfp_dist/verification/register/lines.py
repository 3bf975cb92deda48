"""A register for people."""

from uapfp_dist.messages import one_line, printable
from uapfp_dist.verification.register.history import Look
from uapfp_dist.verification.register.register import Register


def register_lines(register: Register) -> list[str]:
    """When who was asked, by which set, with which result, a line each; nothing in them that a terminal obeys.

    The p-values in brackets are corrected for all looks by Holm's procedure, as of now: a claim of an earlier line was
    made with the looks up to then.
    """
    looks, adjusted = register.looks, register.adjusted()
    n_operators = len({look.operator for look in looks})
    first = (
        f"register of kit {register.kit[:16]}...: suspects looked at {len(looks)}, operators {n_operators}, head "
        f"{register.head[:16]}..."
    )
    return [first, *(_line(look, adjusted[look.test]) for look in looks), *map(printable, register.findings)]


def _line(look: Look, adjusted: float) -> str:
    reserved, decided = look.reserved, look.decided
    who = one_line(reserved.name, 80)
    if reserved.address not in ("", reserved.name):
        who += f" at {one_line(reserved.address, 120)}"
    if reserved.file_sha256:
        who += f" (file {one_line(reserved.file_sha256, 8)}...)"
    asked = f"{one_line(reserved.at)}  {who}, operator {one_line(reserved.operator, 80)}, set {reserved.point_set}"
    if decided is None:
        return f"{asked}: no result, counts as p = 1"
    return (
        f"{asked}: p {decided.p_value:.3g} (of all looks {adjusted:.3g}), {one_line(decided.format, 20)}, "
        f"{one_line(decided.claim, 80)}, transcript {decided.transcript_sha256[:8]}..."
    )
