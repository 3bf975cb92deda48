"""The register shows what was given back: that nothing was sent rests on a transcript, which its owner can shorten."""

from pathlib import Path

import numpy as np
import pytest
from toy_suspects import copied

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.verify import verify

GONE = SuspectConfig(at="http://127.0.0.1:1/", name="go\x1bne", operator="somebody")
ONCE = QueryConfig(tries=1, timeout=1.0)


def test_what_was_given_back_is_listed_and_counted(kit: Kit, register: Register, tmp_path: Path) -> None:
    assert "given back" not in register_lines(register)[0]
    for _ in range(2):
        with pytest.raises(UserError, match="suspect"):
            verify(kit, [GONE], tmp_path / "out", ONCE, register=register)
    verify(kit, [SuspectConfig(at="toy_suspects:copied", name="s")], tmp_path / "s", register=register)
    first, look, *released = register_lines(Register.open(register.path, kit.digest))
    assert "suspects tested 1, operators 1, given back 2, head" in first
    assert " s at toy_suspects:copied" in look
    assert len(released) == 2
    for line in (first, look, *released):
        assert line.isprintable()
    assert all(" go?ne at http://127.0.0.1:1/, operator somebody, set 0: given back 2" in line for line in released)


seen: list[int] = []


def breaks_off(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers to 20 images, then none."""
    if sum(seen) > 20:
        raise UserError("no more today")
    seen.append(len(images))
    return copied(images)


def test_a_look_whose_transcript_was_shortened_is_shown(kit: Kit, register: Register, tmp_path: Path) -> None:
    suspect = SuspectConfig(at="test_given_back:breaks_off", name="s")
    with pytest.raises(UserError, match="no more today"):
        verify(kit, [suspect], tmp_path, register=register)
    assert "suspects tested 1, operators 1, head" in register_lines(register)[0]
    path = transcript_path(tmp_path, "s")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match="no more today"):
        verify(kit, [suspect], tmp_path, register=register)
    first, *_, last = register_lines(register)
    assert "suspects tested 0, operators 0, given back 2, head" in first
    assert "set 0: given back 2" in last
