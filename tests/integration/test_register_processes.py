"""Processes that append to one register at once lose nothing and share no set of points."""

import subprocess
import sys
from pathlib import Path

import pytest
from registers import KIT

from uapfp_dist.verification.register.register import Register

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kit.register.jsonl"


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
