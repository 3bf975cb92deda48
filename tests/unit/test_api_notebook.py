"""The code that the README shows, as it stands in tests/support."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from system import ROOT, environment

SUPPORT = ROOT / "tests" / "support"


def test_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """A stolen model and a pruned copy score above nearly all negatives, an independent one does not."""
    source = (SUPPORT / "notebook.py").read_text()
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 17
    assert max(map(len, source.splitlines())) <= 100
    found = runpy.run_path(str(SUPPORT / "notebook.py"))
    score = {name: found["fingerprint"].score(model) for name, model in found["models"].items()}
    assert len(found["negatives"]) == 19
    # At most one negative as high: the machine's rounding decides whether any.
    assert min(score["stolen"], score["pruned"]) > sorted(found["negatives"])[-2]
    assert score["independent"] < sorted(found["negatives"])[-2]
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[1:]] == ["stolen", "pruned", "independent"]
    assert all(line.endswith(("p 0.05", "p 0.10")) for line in said[1:3])


@pytest.mark.slow
def test_the_notebook_of_a_kit(tmp_path: Path) -> None:
    """As a script: siblings are trained by a function of its own; a copy of the victim is found."""
    command = [sys.executable, str(SUPPORT / "notebook_kit.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.stdout.startswith("piracy, p 0.025, 412 queries"), done.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"
