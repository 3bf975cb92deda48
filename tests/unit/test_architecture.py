"""Which part may import which, and what no part may do; checked on the source, so that no test has to hit it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "uapfp_dist"

LAYERS = (
    ("file_lock", "whole_file"),
    ("errors", "messages", "rng", "concurrency", "serialization", "acceleration", "pass_size", "pixels"),
    ("response_format",),
    ("tasks",),
    ("statistics", "data", "models", "perturbations"),
    ("attacks", "modifications"),
    ("fingerprints",),
    ("config", "storage", "progress"),
    ("tracking",),
    ("execution",),
    ("evaluation",),
    ("reporting",),
    ("central", "suspects"),
    ("verification", "cluster"),
    ("launch", "command", "serving", "results"),
    ("api", "benchmarks"),
    ("cli",),
)
"""Parts of the package (folders and modules) from the ground up: a part knows only itself and what lies below it."""

SAME_FLOOR: set[tuple[str, str]] = set()
"""(who, whom): imports within one layer."""

NEVER = {
    "suspects": ("storage", "tracking", "evaluation", "reporting", "execution", "fingerprints", "data"),
    "verification": ("central",),
    "cluster": ("config", "tracking.mlflow_tracker", "tracking.mlflow_database", "tracking.mlflow_experiment"),
}
"""What a part does without although it lies below."""

SCIENCE = ("statistics", "data", "models", "perturbations", "attacks", "modifications", "fingerprints")
"""Parts that know tensors and specs alone: no storage, no Ray, no MLflow, no clock."""

ONLY_IN = {"ray": ("cluster",), "mlflow": ("tracking/mlflow_", "serving/")}
"""Libraries that one part, or two, keep from all others."""

LATE = ("cluster", "tracking.mlflow_")
"""What takes seconds to import: `launch` and `command` import it only inside functions."""

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN = {
    "torch.load": "a suspect's file may be a pickle; use safetensors",
    "torch.seed": "global random state; use rng",
    "torch.manual_seed": "global random state; use rng",
    "torch.cuda.manual_seed": "global random state; use rng",
    "torch.cuda.manual_seed_all": "global random state; use rng",
    "np.random.seed": "global random state; use rng",
    "numpy.random.seed": "global random state; use rng",
    "random.seed": "global random state; use rng",
    "eval": "runs text",
    "exec": "runs text",
}


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every imported module, by its full name; `from a import b` counts as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression, or an empty string."""
    if isinstance(node, ast.Attribute):
        return f"{before}.{node.attr}" if (before := dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def layer(part: str) -> int:
    """Its number, from the ground."""
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def violations(file: str, source: str) -> list[str]:
    """What the module at `file` (relative to the package) does that it may not."""
    tree = ast.parse(source)
    part = file.split("/")[0].removesuffix(".py")
    late = {inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    found = []
    for name, node in imports(tree):
        top, *below = name.split(".")
        if top in ONLY_IN and not file.startswith(ONLY_IN[top]):
            found.append(f"{file} imports {top}")
        if top in PICKLES:
            found.append(f"{file} imports {top}: nothing here is pickled by hand")
        if top == "uapfp_dist" and below and part != "__init__":
            if below[0] != part and layer(below[0]) >= layer(part) and (part, below[0]) not in SAME_FLOOR:
                found.append(f"{file} imports {below[0]}, which does not lie below it")
            whole = ".".join(below)
            if any(whole == never or whole.startswith(f"{never}.") for never in NEVER.get(part, ())):
                found.append(f"{file} imports {whole}")
            if part in ("launch", "command") and whole.startswith(LATE) and node not in late:
                found.append(f"{file} imports {whole} as soon as it is imported itself")
        if part in SCIENCE and top == "time":
            found.append(f"{file} imports time: science knows no clock")
    if file != "rng.py":
        called = (dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
        found += [f"{file} calls {name}: {FORBIDDEN[name]}" for name in called if name in FORBIDDEN]
    return found


MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def test_the_house_rules() -> None:
    assert [line for file in MODULES for line in violations(file, (PACKAGE / file).read_text())] == []


def test_every_part_has_a_layer() -> None:
    parts = {file.split("/")[0].removesuffix(".py") for file in MODULES}
    assert parts - {"__init__"} == {part for layer in LAYERS for part in layer}


def test_no_file_is_long() -> None:
    assert [file for file in MODULES if len((PACKAGE / file).read_text().splitlines()) > 300] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("fingerprints/encoder.py", "import ray"),
        ("fingerprints/encoder.py", "from mlflow import MlflowClient"),
        ("fingerprints/encoder.py", "import time"),
        ("data/digits.py", "from uapfp_dist.storage.store import Store"),
        ("models/net.py", "import uapfp_dist.config.schema"),
        ("models/net.py", "def late():\n    from uapfp_dist.execution import steps"),
        ("statistics/auc.py", "from uapfp_dist import progress"),
        ("statistics/auc.py", "from uapfp_dist import models"),
        ("execution/steps.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("execution/steps.py", "import ray.util"),
        ("evaluation/judging.py", "from uapfp_dist.central.evaluator import Evaluator"),
        ("central/evaluator.py", "from mlflow import MlflowClient"),
        ("central/evaluator.py", "from uapfp_dist.launch.evaluation import run"),
        ("verification/enrollment/enroll.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("verification/enrollment/enroll.py", "from uapfp_dist.central import evaluator"),
        ("verification/kit/kit.py", "import mlflow"),
        ("suspects/endpoint.py", "from uapfp_dist.verification.kit.kit import Kit"),
        ("suspects/endpoint.py", "from uapfp_dist.storage.store import Store"),
        ("tracking/mlflow_tracker.py", "import ray"),
        ("tracking/live.py", "import mlflow"),
        ("cluster/pool.py", "import mlflow"),
        ("launch/evaluation.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("launch/evaluation.py", "from uapfp_dist.tracking.mlflow_tracker import MlflowTracker"),
        ("launch/evaluation.py", "def late():\n    import ray"),
        ("storage/store.py", "import pickle"),
        ("execution/steps.py", "import torch\nnet = torch.load('suspect.pt')"),
        ("models/training.py", "import torch\ndef f():\n    torch.manual_seed(0)"),
        ("models/training.py", "import numpy as np\nnp.random.seed(0)"),
    ],
)
def test_the_rules_can_be_broken(file: str, source: str) -> None:
    """A check that cannot fail checks nothing."""
    assert violations(file, source) != []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cluster/pool.py", "import ray\nfrom uapfp_dist.tasks.hashing import Spec"),
        ("tracking/mlflow_tracker.py", "from mlflow import MlflowClient"),
        ("launch/workers.py", "def late():\n    from uapfp_dist.cluster.pool import RayPool"),
        ("rng.py", "import torch\ntorch.manual_seed(0)"),
        ("fingerprints/encoder.py", "import torch\ntorch.Generator().manual_seed(0)"),
    ],
)
def test_the_rules_can_be_kept(file: str, source: str) -> None:
    assert violations(file, source) == []
