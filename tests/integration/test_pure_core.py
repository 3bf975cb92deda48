"""The core imports neither Ray nor MLflow."""

import subprocess
import sys
from pathlib import Path

from system import ROOT, environment


def test_the_core_imports_neither_ray_nor_mlflow_and_does_nothing(tmp_path: Path) -> None:
    """In a process of its own: every module but those that are imported late."""
    program = """
import importlib, pkgutil, random, sys, threading
import numpy as np, torch
torch.manual_seed(1); np.random.seed(1); random.seed(1)
before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
import uapfp_dist
late = ("cluster", "benchmarks.cluster", "benchmarks.driver", "tracking.mlflow_", "serving.served_model")
for m in pkgutil.walk_packages(uapfp_dist.__path__, "uapfp_dist."):
    if not m.name.removeprefix("uapfp_dist.").startswith(late):
        importlib.import_module(m.name)
print([name for name in ("ray", "mlflow") if name in sys.modules])
after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
print(torch.equal(before[0], after[0]) and before[1:] == after[1:])
print(threading.active_count())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.stdout.split("\n")[:3] == ["[]", "True", "1"], done.stderr[-2000:]
    assert not list(tmp_path.iterdir()), "importing writes nothing"
