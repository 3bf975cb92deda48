"""A chain of lines: what was changed, removed, torn or made up is noticed when it is read."""

import json
from pathlib import Path

import pytest
from registers import KIT, SHA, error_of, look

from uapfp_dist.verification.querying.record_chain import chain_line
from uapfp_dist.verification.register import register as register_module
from uapfp_dist.verification.register.register import Register


def rewritten(path: Path, *bodies: dict[str, object]) -> None:
    """A chain without a fault whose records somebody made up."""
    data, last = b"", ""
    for body in bodies:
        line, last = chain_line(last, json.dumps({"at": "2030-01-01T00:00:00+00:00", **body}).encode())
        data += line
    path.write_bytes(data)


OPENED = {"kind": "register", "kit": KIT, "version": 1}
RESERVED = {"kind": "reserved", "test": "1" * 64, "name": "n", "address": "a", "file_sha256": "", "operator": "o"}
RESERVED |= {"point_set": 0}
DECIDED = {"kind": "decided", "test": "1" * 64, "p_value": 0.5, "format": "hard", "transcript_sha256": SHA}
DECIDED |= {"claim": "c"}


@pytest.mark.parametrize("number", range(5))
def test_a_changed_line_is_noticed(full: list[bytes], path: Path, number: int) -> None:
    path.write_bytes(b"".join([*full[:number], full[number].replace(b"2030", b"2031"), *full[number + 1 :]]))
    assert f"line {number + 1} is not what was written there" in error_of(lambda: Register.open(path, KIT))


@pytest.mark.parametrize("number", range(4))
def test_a_removed_or_moved_line_is_noticed(full: list[bytes], path: Path, number: int) -> None:
    path.write_bytes(b"".join([*full[:number], *full[number + 1 :]]))
    error_of(lambda: Register.open(path, KIT))
    path.write_bytes(b"".join([*full[:number], full[number + 1], full[number], *full[number + 2 :]]))
    error_of(lambda: Register.open(path, KIT))


def test_lines_cut_off_the_end_are_noticed_by_whoever_has_a_head(full: list[bytes], path: Path) -> None:
    whole = Register.open(path, KIT)
    heads = [json.loads(line)["sha256"] for line in full]
    assert whole.head == heads[-1]
    assert all(map(whole.contains, heads))
    path.write_bytes(b"".join(full[:3]))
    cut = Register.open(path, KIT)
    assert [cut.contains(head) for head in heads] == [True, True, True, False, False]
    assert not cut.contains("")
    assert "lines that were read a moment ago are gone" in error_of(lambda: look(whole, "c", "c"))
    assert path.read_bytes() == b"".join(full[:3])


@pytest.mark.parametrize("n_bytes", [1, 2, 30, 90])
def test_a_torn_line_is_reported_and_replaced_by_a_note(full: list[bytes], path: Path, n_bytes: int) -> None:
    torn = full[-1][:-n_bytes]
    path.write_bytes(b"".join(full[:-1]) + torn)
    register = Register.open(path, KIT)
    if n_bytes == 1:  # whole but for the end of the line
        assert register.findings == ()
        assert register.looks[1].p_value == 0.2
    else:
        (said,) = register.findings
        assert said.startswith("after the last line: a line was broken off")
        assert said.endswith(f"({len(torn)} bytes)")
        assert register.looks[1].p_value == 1.0
    look(register, "c", "c", p=0.4)
    again = Register.open(path, KIT)
    assert [one.p_value for one in again.looks] == [0.2, 0.2 if n_bytes == 1 else 1.0, 0.4]
    assert [torn[:80].decode() in said for said in again.findings] == [True] * (n_bytes > 1)
    assert path.read_bytes().startswith(b"".join(full[:-1]))


@pytest.mark.parametrize("data", [b"", b"{", b'{"sha256": "'])
def test_a_register_without_a_whole_first_line(register: Register, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "expected a first line that names its kit" in error_of(lambda: Register.open(path, KIT))
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ([RESERVED], "expected a first line that names its kit"),
        ([{**OPENED, "version": 2}], "line 1, got something else (version 2, known is 1; use the uapfp_dist it was"),
        ([OPENED, OPENED], "line 2 begins a register a second time"),
        ([OPENED, RESERVED, RESERVED], "line 3 reserves a test a second time"),
        ([OPENED, DECIDED], "line 2 decides a test that was never reserved"),
        ([OPENED, RESERVED, DECIDED, DECIDED], "line 4 decides a test a second time"),
        ([OPENED, RESERVED, {**DECIDED, "p_value": 2.0}], "line 3, got something else (p_value"),
        ([OPENED, RESERVED, {**DECIDED, "p_value": float("nan")}], "line 3, got something else (p_value"),
        ([OPENED, {**RESERVED, "point_set": -1}], "line 2, got something else (point_set"),
        ([OPENED, {**RESERVED, "point_set": True}], "line 2, got something else (point_set"),
        ([OPENED, {**RESERVED, "test": "x\x1b[2J\n"}], "line 2, got something else (test"),
        ([OPENED, {**RESERVED, "at": "yesterday"}], "line 2, got something else ("),
        ([OPENED, {**RESERVED, "at": "2030-01-01T00:00:00"}], "is no time in UTC"),
        ([OPENED, {**RESERVED, "kind": ["reserved"]}], "no kind of record that is known"),
        ([OPENED, {"kind": "forgiven\x1b"}], "no kind of record that is known"),
    ],
)
def test_a_whole_chain_of_records_that_make_no_sense(path: Path, bodies: list[dict[str, object]], said: str) -> None:
    rewritten(path, *bodies)
    assert said in error_of(lambda: Register.open(path, KIT))


def test_bytes_that_are_no_register(path: Path) -> None:
    for data in (b"\0" * 1000 + b"\n", b"{}\n" * 3, b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        path.write_bytes(data)
        error_of(lambda: Register.open(path, KIT, create=True))
        assert path.read_bytes() == data
    line, _ = chain_line("", b"[" * 100_000)
    path.write_bytes(line)
    assert "line 1" in error_of(lambda: Register.open(path, KIT))


def test_a_clock_that_is_set_back_is_reported(register: Register, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(register, "a", "a")
    assert register.findings == ()
    monkeypatch.setattr(register_module, "_now", lambda: "2029-12-31T23:59:59+00:00")
    look(register, "b", "b")
    (said,) = Register.open(path, KIT).findings
    assert said.startswith("line 3: its time is before that of line 2")
