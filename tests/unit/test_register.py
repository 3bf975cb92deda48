"""The register of a kit: every look counts, a set is spent for its operator, and nothing is lost or changed unseen."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.statistics.holm import holm
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying.record_chain import chain_line, record_of
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.querying.transcript import Transcript
from uapfp_dist.verification.register import chained_file
from uapfp_dist.verification.register import register as register_module
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.register.operator import operator_of
from uapfp_dist.verification.register.records import id_of_test
from uapfp_dist.verification.register.register import Register, register_path

KIT, SHA = "a" * 64, "5" * 64


def begin(name: str = "thief", at: str = "https://shop.example/models", **changes: Any) -> Begin:
    suspect = {"name": name, "at": at, "kind": "mlflow", "output": "label", "classes": None}
    return replace(Begin(kit=KIT, suspect=suspect, judged=Judged((name,), 0.05)), **changes)


@pytest.fixture(autouse=True)
def _seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is a second after the one before."""
    seconds = count()
    start = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(register_module, "_now", lambda: (start + timedelta(seconds=next(seconds))).isoformat())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kit.register.jsonl"


@pytest.fixture
def register(path: Path) -> Register:
    return Register.open(path, KIT, create=True)


def look(register: Register, name: str, operator: str, n_sets: int = 3, p: float | None = None) -> str:
    """A test as a verification makes it; its id."""
    with register.locked():
        index = register.next_set(operator, n_sets)
        test = register.reserve(begin(name), operator, index).test
    if p is not None:
        register.decide(test, p, "hard", SHA, "inconclusive")
    return test


def error_of(action: Callable[[], object]) -> str:
    """The one line of a user's error."""
    with pytest.raises(UserError) as caught:
        action()
    assert str(caught.value).isprintable()
    return str(caught.value)


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


# -- what a test is --------------------------------------------------------------------------------------------------


def test_a_test_is_known_again_when_it_is_resumed(tmp_path: Path) -> None:
    first = Transcript(tmp_path / "t", begin(max_queries=10))
    first.close()
    resumed = Transcript(tmp_path / "t", begin(max_queries=20))
    resumed.close()
    assert id_of_test(first.begin, 0) == id_of_test(resumed.begin, 0) == id_of_test(begin(max_queries=10), 0)


def test_what_determines_a_test_changes_its_id() -> None:
    others = [
        begin(),
        begin("other"),
        begin(at="https://elsewhere.example"),
        begin(kit="b" * 64),
        begin(seed=1),
        begin(max_queries=10),
        begin(judged=Judged(("thief",), 0.01)),
        begin(judged=Judged(("thief", "other"), 0.05)),
    ]
    ids = [id_of_test(one, index) for one in others for index in (0, 1)]
    assert len(set(ids)) == len(ids)


def test_the_id_of_a_test_is_frozen() -> None:
    assert id_of_test(begin(), 0) == "868a2fd5bfe13033418212340481f4730cc9f310c5e4eeed6c70bdd5f25e7362"


def test_the_same_test_adds_nothing(register: Register, path: Path) -> None:
    test = look(register, "thief", "shop", p=0.01)
    before, head = path.read_bytes(), register.head
    assert register.reserve(begin("thief"), "Shop", 0).p_value == 0.01
    assert register.decide(test, 0.01, "hard", SHA, "piracy").decided.claim == "inconclusive"  # type: ignore[union-attr]
    assert path.read_bytes() == before
    assert register.head == head


@pytest.mark.parametrize("other", [(0.02, "hard", SHA), (0.01, "prob", SHA), (0.01, "hard", "6" * 64)])
def test_a_test_is_decided_once(register: Register, path: Path, other: tuple[float, str, str]) -> None:
    test = look(register, "thief", "shop", p=0.01)
    before = path.read_bytes()
    assert "a test is decided once" in error_of(lambda: register.decide(test, *other, "piracy"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_p_value_is_not_written(register: Register, path: Path, p: float) -> None:
    test = look(register, "thief", "shop")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="p_value"):
        register.decide(test, p, "hard", SHA, "piracy")
    with pytest.raises(ValueError, match="never reserved"):
        register.decide("9" * 64, 0.5, "hard", SHA, "piracy")
    with pytest.raises(ValueError, match="a test of kit"):
        register.reserve(begin(kit="b" * 64), "shop", 0)
    assert path.read_bytes() == before


# -- sets and operators ----------------------------------------------------------------------------------------------


def test_a_set_is_spent_for_its_operator_alone(register: Register, path: Path) -> None:
    for name in ("a", "b"):
        look(register, name, "Shop ")
    assert register.spent("shop") == {0, 1}
    assert register.spent("bank") == frozenset()
    assert (register.next_set("shop", 3), register.next_set("bank", 3)) == (2, 0)
    assert Register.open(path, KIT).spent("SHOP") == {0, 1}
    look(register, "c", "shop")
    said = error_of(lambda: register.next_set("shop", 3))
    assert said.startswith("operator shop: expected a set of points that this operator has not seen, all 3 are spent")


def test_gaps_are_filled_first_and_a_spent_set_is_refused(register: Register, path: Path) -> None:
    register.reserve(begin("a"), "shop", 1)
    assert register.next_set("shop", 3) == 0
    before = path.read_bytes()
    said = error_of(lambda: register.reserve(begin("b"), "shop", 1))
    assert "set 1 of the kit's points was given to another test" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("at", "operator"),
    [
        ("https://API.Shop.example:8443/v2/models/net?key=SECRET", "api.shop.example"),
        ("http://api.shop.example./invocations", "api.shop.example"),
        ("http://[::1]:8000", "::1"),
        ("/home/somebody/Thief.onnx", "thief.onnx"),
        ("~/thief.safetensors", "thief.safetensors"),
        ("their.module:predict", "their.module:predict"),
        ("/tmp/bell\x07\x1b[2J.onnx", "bell??[2j.onnx"),
    ],
)
def test_the_operator_of_an_address(at: str, operator: str) -> None:
    assert operator_of(SuspectConfig(at=at)) == operator
    assert operator_of(SuspectConfig(at=at, operator="  The   Shop ")) == "the shop"


@pytest.mark.parametrize("name", [" ", "a\x1b[2J", "x" * 201, "a\u202eb"])
def test_an_operator_has_a_name_that_shows(name: str) -> None:
    assert error_of(lambda: operator_of(SuspectConfig(at="http://a", operator=name))).startswith("operator: expected")


def test_an_address_that_is_no_url() -> None:
    assert error_of(lambda: operator_of(SuspectConfig(at="//[::1", kind="http"))).startswith("suspect: expected a URL")


# -- Holm over all looks ---------------------------------------------------------------------------------------------


def test_holm_runs_over_all_looks(register: Register) -> None:
    p_values = [0.01, None, 0.02, 0.5]
    tests = [look(register, f"m{i}", f"o{i}", p=p) for i, p in enumerate(p_values)]
    expected = holm([1.0 if p is None else p for p in p_values])
    assert [register.adjusted()[test] for test in tests] == expected == [0.04, 1.0, 0.06, 1.0]
    assert [one.p_value for one in register.looks] == [0.01, 1.0, 0.02, 0.5]


def test_holm_runs_over_all_suspects_that_the_kit_was_enrolled_for(register: Register) -> None:
    """As in the verdict: the same numbers in both."""
    tests = [look(register, name, name, p=p) for name, p in (("a", 0.01), ("b", 0.03))]
    for k, adjusted in ((0, [0.02, 0.03]), (2, [0.02, 0.03]), (5, [0.05, 0.12])):
        found = register.adjusted(max_suspects=k)
        assert [found[test] for test in tests] == pytest.approx(adjusted)
        assert f"p 0.01 (corrected for {k or 2}: {adjusted[0]:.3g})" in register_lines(register, k)[1]


def test_a_look_that_is_given_up_never_helps(register: Register) -> None:
    own = look(register, "own", "o")
    alone = register.adjusted({own: 0.02})[own]
    look(register, "given up", "another")
    assert register.adjusted({own: 0.02})[own] == 2 * alone


def test_an_earlier_verdict_can_be_repeated(register: Register, path: Path) -> None:
    first, second = look(register, "a", "a"), look(register, "b", "b", p=0.03)
    judged_at = register.head
    then = register.adjusted({first: 0.01})
    register.decide(first, 0.01, "hard", SHA, "piracy")
    look(register, "c", "c", p=0.001)
    again = Register.open(path, KIT)
    assert again.adjusted({first: 0.01}, judged_at) == then == {first: 0.02, second: 0.03}
    assert again.adjusted()[first] == 0.02
    assert len(again.adjusted()) == 3
    with pytest.raises(ValueError, match="was not reserved"):
        again.adjusted({"9" * 64: 0.5})


# -- faults ----------------------------------------------------------------------------------------------------------


def test_nothing_is_begun_unless_that_is_wanted(path: Path) -> None:
    assert "there is none; restore it from a copy" in error_of(lambda: Register.open(path, KIT))
    assert not path.exists()
    assert Register.open(path, KIT, create=True).looks == ()
    before = path.read_bytes()
    assert Register.open(path, KIT, create=True).head == Register.open(path, KIT).head
    assert path.read_bytes() == before


def test_another_kits_register(register: Register, path: Path) -> None:
    said = error_of(lambda: Register.open(path, "b" * 64))
    assert "it is of kit aaaaaaaaaaaaaaaa..., this one is bbbbbbbbbbbbbbbb..." in said


@pytest.fixture
def full(register: Register, path: Path) -> list[bytes]:
    """Lines of a register: opened, and two tests with their results."""
    for name in ("a", "b"):
        look(register, name, name, p=0.2)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    return lines


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
    assert "it does not contain it" in error_of(lambda: cut.adjusted(head=whole.head))
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


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "pipe/x", "missing/x", "x" * 300):
        for create in (True, False):
            said = error_of(lambda name=name, create=create: Register.open(tmp_path / name, KIT, create=create))  # type: ignore[misc]
            assert said.startswith("register ")


def test_a_file_that_cannot_be_written_is_read_and_nothing_is_sent(
    full: list[bytes], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def read_only(name: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(name, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    register = Register.open(path, KIT, create=True)
    assert len(register.looks) == 2
    assert "expected a file that can be written (Permission denied)" in error_of(lambda: look(register, "c", "c"))


def test_a_full_disk_leaves_the_register_as_it_was(
    register: Register, full: list[bytes], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    before, head = path.read_bytes(), register.head
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert "(No space left on device); make room" in error_of(lambda: look(register, "c", "c"))
    assert path.read_bytes() == before
    assert (register.head, len(register.looks)) == (head, 2)
    look(register, "c", "c")
    assert len(Register.open(path, KIT).looks) == 3


def test_a_clock_that_is_set_back_is_reported(register: Register, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(register, "a", "a")
    assert register.findings == ()
    monkeypatch.setattr(register_module, "_now", lambda: "2029-12-31T23:59:59+00:00")
    look(register, "b", "b")
    (said,) = Register.open(path, KIT).findings
    assert said.startswith("line 3: its time is before that of line 2")


# -- several at once -------------------------------------------------------------------------------------------------


def test_others_wait_while_one_has_it(register: Register, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Register.open(path, KIT)
    monkeypatch.setattr(chained_file, "LOCK_SECONDS", 0.05)
    with register.locked():
        assert "another process keeps it" in error_of(lambda: look(other, "b", "b"))
        look(register, "a", "a")
    look(other, "b", "b")
    assert [one.name for one in other.looks] == ["a", "b"]


def test_what_others_appended_is_seen_before_a_set_is_chosen(register: Register, path: Path) -> None:
    other = Register.open(path, KIT)
    look(register, "a", "shop")
    look(other, "b", "shop")
    assert [one.point_set for one in other.looks] == [0, 1]


PROCESS = """
import sys
from pathlib import Path
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.register.register import Register
path, name, n = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
register = Register.open(Path(path), "a" * 64, create=True)
for i in range(int(n)):
    suspect = {"name": f"{name}-{i}", "at": "http://shop", "output": "label"}
    with register.locked():
        free = register.next_set("shop", 10**6)
        look = register.reserve(Begin(kit="a" * 64, suspect=suspect, judged=Judged((), 0.05)), "shop", free)
    register.decide(look.test, 0.5, "hard", "5" * 64, "inconclusive")
    print(i, flush=True)
"""


def started(path: Path, name: str, n: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROCESS, str(path), name, str(n)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_append_at_once_lose_nothing_and_share_no_set(path: Path) -> None:
    """Two finish, one is killed in the middle: whatever any of them was told is there is there."""
    processes = [started(path, name, n) for name, n in (("a", 15), ("b", 15), ("killed", 10**6))]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    last = processes[-1]
    assert last.stdout
    told = [last.stdout.readline() for _ in range(5)]
    last.kill()
    told += last.stdout.readlines()
    for process in processes:
        with process:
            process.wait(60)
    register = Register.open(path, KIT)
    names = [one.name for one in register.looks]
    assert {f"{name}-{i}" for name in "ab" for i in range(15)} <= set(names)
    assert {f"killed-{line.strip()}" for line in told if line.endswith("\n")} <= set(names)
    assert [one.point_set for one in register.looks] == list(range(len(names)))  # each once, in the chain's order
    undecided = [one.name for one in register.looks if one.decided is None]
    assert undecided in ([], [[name for name in names if name.startswith("killed")][-1]])


# -- for people ------------------------------------------------------------------------------------------------------


def test_the_register_stands_beside_its_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = tmp_path / "my.kit"
    kit.mkdir()
    assert register_path(kit) == tmp_path / "my.kit.register.jsonl"
    monkeypatch.chdir(kit)
    assert register_path(".") == register_path(f"{kit}/") == register_path(kit)


def test_no_secret_and_no_control_character_gets_out(register: Register, path: Path) -> None:
    hostile = "evil\x1b[2J\r\nforged line\u202e\x85\u2028"
    address = "https://user:SECRET@shop.example/x?key=SECRET"
    test = register.reserve(begin(hostile, address), "shop", 0).test
    register.decide(test, 0.5, "hard", SHA, "in\x1bconclusive")
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == 3
    assert b"SECRET" not in data
    assert all(32 <= byte < 127 or byte == 10 for byte in data)
    again = Register.open(path, KIT)
    assert again.looks[0].name == hostile
    assert all(line.isprintable() for line in register_lines(again))
    path.write_bytes(data + b"\x1b[2Jtorn")
    assert all(line.isprintable() for line in register_lines(Register.open(path, KIT)))


def test_lines_say_when_who_which_set_and_what_came_of_it(register: Register) -> None:
    look(register, "thief", "shop", p=0.01)
    look(register, "other", "bank")
    first, thief, other = register_lines(register)
    assert first.startswith("register of kit aaaaaaaaaaaaaaaa...: suspects looked at 2, operators 2, head ")
    assert thief == (
        "2030-01-01T00:00:01+00:00  thief at https://shop.example/models, operator shop, set 0: p 0.01 (corrected for "
        "2: 0.02), hard, inconclusive, transcript 55555555..."
    )
    assert other.endswith("other at https://shop.example/models, operator bank, set 0: no result, counts as p = 1")


def test_a_line_of_the_file_is_readable(register: Register, path: Path) -> None:
    look(register, "thief", "shop", p=0.01)
    records = [json.loads(record_of(line)) for line in path.read_bytes().splitlines(keepends=True)]
    assert [record["kind"] for record in records] == ["register", "reserved", "decided"]
    assert records[0] == {"kind": "register", "at": "2030-01-01T00:00:00+00:00", "kit": KIT, "version": 1}
    assert records[1]["operator"] == "shop"
    assert records[2]["p_value"] == 0.01
