"""Whether transcripts, results and verdicts agree with what a kit's register says of them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import is_look, stored_begin, test_of
from uapfp_dist.verification.querying.transcript import stored_records
from uapfp_dist.verification.register.history import Look
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import JudgedSuspect, sha256_of


def check_transcripts(kit: Kit, register: Register, paths: Sequence[Path]) -> None:
    """Accept transcripts of looks that the register holds, with the bytes that were decided by.

    One of a suspect that was sent no more than the images that check the input is no look, and in no register.

    Raises:
        UserError: a look that the register does not hold, or that it decided by another transcript.
    """
    looks = _by_test(register)
    for path in paths:
        if (begin := stored_begin(path)) is None or not is_look(kit, stored_records(path)):
            continue
        if (look := looks.get(test_of(begin))) is None:
            raise UserError(
                f"transcript {path}: expected a look that the register {register.path} holds, it has none that begins "
                "so; take the transcript and the register as they were written, or replay beside a copy of the kit "
                "that has no register",
                argument="replay",
            )
        if look.decided and look.decided.transcript_sha256 != (found := sha256_of(path)):
            raise UserError(
                f"transcript {path}: expected the one of SHA-256 {look.decided.transcript_sha256[:16]}..., by which "
                f"the register decided, got {found[:16]}...; take that one",
                argument="replay",
            )


def check_results(kit: Kit, register: Register, cases: Sequence[JudgedSuspect]) -> None:
    """Accept p-values that are those of the register, where it has any, before the correction and after it.

    Raises:
        UserError: another p-value.
    """
    looks = _by_test(register)
    for case in cases:
        look = looks.get(test_of(case.begin))
        if look is None or look.decided is None or case.stopped:
            continue
        pairs = [(look.p_value, case.verdict.p_value)]
        if look.decided.p_adjusted is not None and kit.info.max_suspects is not None:
            # One that is too small would give later looks a share of alpha that is not theirs.
            pairs.append((look.decided.p_adjusted, case.verdict.p_adjusted))
        for expected, found in pairs:
            if not math.isclose(expected, found, rel_tol=1e-9):
                raise UserError(
                    f"replay of {one_line(look.name, 60)}: expected p {expected:.6g}, as the register {register.path} "
                    f"says, got {found:.6g}; replay it by the version of uapfp_dist that decided",
                    argument="replay",
                )


def check_verdict_file(kit: Kit, register: Register, folder: Path) -> None:
    """Accept the register that the verdict in a folder was made with, where there is one, or what it has become.

    Raises:
        UserError: it does not contain the head that the verdict names.
    """
    path = folder / "verdict.json"
    try:
        found = json.loads(path.read_bytes())
        ours = found["kit"] == kit.digest
        heads = {str(one["register"]["head"]) for one in found["suspects"] if "register" in one}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # none, or none of ours
        return
    for head in sorted(heads) if ours else ():
        if not register.contains(head):
            register.read_again()  # another process may have appended it
        if not register.contains(head):
            raise UserError(
                f"register {register.path}: expected to find the head {one_line(head, 16)}... that {path} names, it "
                "does not contain it; lines were removed, or it is another copy: take the one that the verdict was "
                "made with"
            )


def _by_test(register: Register) -> dict[str, Look]:
    return {look.test: look for look in register.looks}
