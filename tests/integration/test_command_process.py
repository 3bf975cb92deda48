"""`uapfp` as a process: it waits for no library, needs no terminal, and minds no closed pipe."""

import os
import subprocess
import sys
from pathlib import Path

from system import environment


def test_the_overview_waits_for_no_library() -> None:
    """Torch, Ray and MLflow take seconds to import."""
    code = (
        "import sys; from uapfp_dist.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'ray', 'mlflow', 'tyro', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_as_a_process_without_a_terminal() -> None:
    command = [sys.executable, "-m", "uapfp_dist.cli"]
    done = subprocess.run([*command, "evalute"], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("uapfp: error: unknown command evalute (did you mean evaluate?)")


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """The full help, into a pipe that is closed: no traceback."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "uapfp_dist.cli", "status", "--help-all"]
    done = subprocess.run(command, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
