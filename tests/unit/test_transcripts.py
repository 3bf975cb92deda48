"""A transcript: finished it sends nothing, torn it goes on, changed it is no evidence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from query_runs import BEGIN, REQUIRED, Recorder, query, right
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.verification.querying.transcript import Transcript, read_transcript

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_a_finished_transcript_sends_nothing(tmp_path: Path) -> None:
    query(Recorder(), tmp_path / "t")
    size, suspect = (tmp_path / "t").stat().st_size, Recorder()
    query(suspect, tmp_path / "t")
    assert suspect.calls == []
    assert (tmp_path / "t").stat().st_size == size


def test_a_torn_tail_is_dropped_and_sent_again(tmp_path: Path) -> None:
    """Cut anywhere: what was whole stays, and nothing but the last batch is sent again."""
    path = tmp_path / "t"
    query(Recorder(), path)
    whole = path.read_bytes()
    for cut in (1, 40, 200, 500):
        path.write_bytes(whole[:-cut])
        ledger = query(Recorder(), path)
        assert right(ledger)
        assert all(len(given) <= 3 for given in ledger.responses.values())


@pytest.mark.parametrize("change", ["flip", "drop", "swap", "append"])
def test_a_changed_transcript_is_no_evidence(change: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    query(Recorder(), path)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "flip":
        lines[3] = lines[3].replace(b"0", b"1", 1)
    elif change == "drop":
        del lines[4]
    elif change == "swap":
        lines[3], lines[4] = lines[4], lines[3]
    else:
        lines.append(lines[-1])
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match="not what was written"):
        read_transcript(path, "a" * 64)
    with pytest.raises(UserError, match="not what was written"):
        query(Recorder(), path)


def test_a_transcript_belongs_to_one_verification(tmp_path: Path) -> None:
    path = tmp_path / "t"
    query(Recorder(), path)
    with pytest.raises(UserError, match=r"another kit.*Another folder is another test: both verdicts must be reported"):
        Transcript(path, replace(BEGIN, kit="b" * 64))
    with pytest.raises(UserError, match="name the other kit"):
        read_transcript(path, "b" * 64)
    held = Transcript(path, BEGIN)
    with pytest.raises(UserError, match="another verification is writing it; wait for it to end"):
        Transcript(path, BEGIN)
    held.close()


def test_an_unfinished_transcript_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        query(Recorder({3: UserError("away")}), tmp_path / "t")
    with pytest.raises(UserError, match="not finished"):
        read_transcript(tmp_path / "t", "a" * 64)


def test_floats_come_back_as_the_same_bits(tmp_path: Path) -> None:
    values = torch.rand(200, 2, dtype=torch.float64).tolist()

    class Exact(Recorder):
        def query(self, images: Tensor, timeout: float) -> list[Any]:
            return [values[i] for i in images.flatten().tolist()]

    ledger = query(Exact(), tmp_path / "t")
    assert all(ledger.responses[i][0] == values[i] for i in REQUIRED.tolist())
