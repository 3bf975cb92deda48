"""Which part may import which, and what no part may do; checked on the source, so that no test has to hit it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "uapfp_dist"

MAY_IMPORT = {
    "specs": set(),
    "types": {"specs"},
    "errors": set(),
    "science": {"science", "specs", "types", "errors"},
    "runtime": {"specs", "types", "errors"},
    "store": {"specs", "types", "errors", "runtime"},
    "config": {"science", "specs", "types", "errors"},
    "wording": {"science", "specs"},
    "progress": {"wording", "specs", "types"},
    "pipeline": {
        "pipeline",
        "science",
        "config",
        "runtime",
        "store",
        "progress",
        "wording",
        "specs",
        "types",
        "errors",
    },
    "suspects": {"suspects", "science", "specs", "types", "errors"},
    "verification": {
        "verification",
        "suspects",
        "science",
        "pipeline",
        "config",
        "runtime",
        "store",
        "progress",
        "specs",
        "types",
        "errors",
    },
    "tracking": {"specs", "types", "errors", "runtime"},
    "cluster": {"cluster", "pipeline", "progress", "runtime", "store", "config", "specs", "types", "errors"},
}
"""Part of the package (a folder or a module) to the parts it knows. A part not named here joins them all."""

ONLY_IN = {"ray": ("cluster",), "mlflow": ("tracking",)}
"""Libraries that one part keeps from all others. A job may import them late, inside a function."""

JOINERS = ("app", "ablations", "__init__")
"""Parts that know every part; they import `cluster` and `tracking` only inside functions."""

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN = {
    "torch.load": "a suspect's file may be a pickle; use safetensors",
    "torch.seed": "global random state; use science.rng",
    "torch.manual_seed": "global random state; use science.rng",
    "torch.cuda.manual_seed": "global random state; use science.rng",
    "torch.cuda.manual_seed_all": "global random state; use science.rng",
    "np.random.seed": "global random state; use science.rng",
    "numpy.random.seed": "global random state; use science.rng",
    "random.seed": "global random state; use science.rng",
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


def violations(file: str, source: str) -> list[str]:
    """What the module at `file` (relative to the package) does that it may not."""
    tree = ast.parse(source)
    part = file.split("/")[0].removesuffix(".py")
    late = {inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    found = []
    for name, node in imports(tree):
        top, *below = name.split(".")
        if part not in ONLY_IN.get(top, (part,)):
            found.append(f"{file} imports {top}")
        if top in PICKLES:
            found.append(f"{file} imports {top}: nothing here is pickled by hand")
        if top == "uapfp_dist" and below:
            if part in MAY_IMPORT and below[0] not in MAY_IMPORT[part]:
                found.append(f"{file} imports {below[0]}")
            if part in JOINERS and below[0] in ("cluster", "tracking") and node not in late:
                found.append(f"{file} imports {below[0]} as soon as it is imported itself")
    if file != "science/rng.py":
        called = (dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
        found += [f"{file} calls {name}: {FORBIDDEN[name]}" for name in called if name in FORBIDDEN]
    return found


MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", MODULES)
def test_the_house_rules(file: str) -> None:
    assert violations(file, (PACKAGE / file).read_text()) == []


def test_every_part_has_a_rule() -> None:
    parts = {file.split("/")[0].removesuffix(".py") for file in MODULES}
    assert parts <= set(MAY_IMPORT) | set(JOINERS)
    assert {"science", "pipeline", "cluster", "tracking", "app"} <= parts


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("science/encoder.py", "import ray"),
        ("science/encoder.py", "from mlflow import MlflowClient"),
        ("science/data/digits.py", "from uapfp_dist.store import Store"),
        ("science/zoo/net.py", "import uapfp_dist.config"),
        ("science/zoo/net.py", "def late():\n    from uapfp_dist.pipeline import steps"),
        ("science/verdict.py", "from uapfp_dist import runtime"),
        ("pipeline/steps.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("pipeline/steps.py", "import ray.util"),
        ("pipeline/arbiter.py", "from uapfp_dist.tracking import MlflowTracker"),
        ("pipeline/arbiter.py", "from uapfp_dist.app import run"),
        ("verification/enroll.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("verification/kit.py", "import mlflow"),
        ("suspects/http.py", "from uapfp_dist.verification.kit import Kit"),
        ("tracking.py", "import ray"),
        ("cluster/arbiter.py", "import mlflow"),
        ("app.py", "from uapfp_dist.cluster.pool import RayPool"),
        ("app.py", "def late():\n    import ray"),
        ("store.py", "import pickle"),
        ("pipeline/steps.py", "import torch\nnet = torch.load('suspect.pt')"),
        ("science/training.py", "import torch\ndef f():\n    torch.manual_seed(0)"),
        ("science/training.py", "import numpy as np\nnp.random.seed(0)"),
    ],
)
def test_the_rules_can_be_broken(file: str, source: str) -> None:
    """A check that cannot fail checks nothing."""
    assert violations(file, source) != []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cluster/pool.py", "import ray\nfrom uapfp_dist.types import Spec"),
        ("tracking.py", "from mlflow import MlflowClient"),
        ("app.py", "def late():\n    from uapfp_dist.cluster.pool import RayPool"),
        ("science/rng.py", "import torch\ntorch.manual_seed(0)"),
        ("science/encoder.py", "import torch\ntorch.Generator().manual_seed(0)"),
    ],
)
def test_the_rules_can_be_kept(file: str, source: str) -> None:
    assert violations(file, source) == []
