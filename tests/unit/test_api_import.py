"""What an import of the package brings in, and what it shows."""

import ast
import doctest
import importlib
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest
from system import ROOT, environment

import uapfp_dist

PROGRAM = """
import sys
import uapfp_dist as ufp
print([name for name in ("torch", "ray", "mlflow", "sklearn", "numpy") if name in sys.modules])
data = ufp.load("digits")
victim = ufp.train("A", data.victim_set, epochs=1, width=2)
stolen = [ufp.extract(victim, data.pool, budget=100, epochs=1, width=2, seed=i) for i in range(2)]
independent = [ufp.train("C", data.homologous(i), epochs=1, width=2) for i in range(2)]
modified = [ufp.prune(stolen[0], 0.4), ufp.int8(stolen[0], data.attacker)]
fingerprint = ufp.Fingerprint("weighted_errors", n_points=4, n_views=2)
fingerprint.fit(victim, data, stolen=stolen, independent=independent)
p = ufp.conformal_p(fingerprint.score(modified[0]), [fingerprint.score(model) for model in independent])
assert 0 < p <= 1
ufp.enroll, ufp.verify, ufp.evaluate
print([name for name in ("ray", "mlflow") if name in sys.modules])
"""


def test_ray_and_mlflow_are_imported_when_first_used(tmp_path: Path) -> None:
    """Not by an import, nor by training, extracting, modifying and scoring; torch not by an import alone."""
    command, env = [sys.executable, "-c", PROGRAM], environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr[-2000:]
    assert not list(tmp_path.iterdir()), "nothing is written"


def shown_to_type_checkers() -> dict[str, str]:
    """Name to the module that it is imported from below `if TYPE_CHECKING`."""
    tree = ast.parse(Path(uapfp_dist.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_people_editors_and_type_checkers_are_shown_the_same_names() -> None:
    lazily = {name: f"uapfp_dist.{module}" for module, names in uapfp_dist._WHERE.items() for name in names}
    assert shown_to_type_checkers() == lazily
    assert sorted(uapfp_dist.__all__) == sorted(lazily)
    assert set(uapfp_dist.__all__) <= set(dir(uapfp_dist))
    for name, module in lazily.items():
        assert getattr(uapfp_dist, name) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match="fingerprnt"):
        _ = uapfp_dist.fingerprnt


def test_help_is_a_table_of_contents() -> None:
    contents = str(uapfp_dist.__doc__)
    listed = set(contents.replace(",", " ").split())
    assert set(uapfp_dist.__all__) <= listed
    whole = pydoc.render_doc(uapfp_dist, renderer=pydoc.plaintext)
    for name in uapfp_dist.__all__:
        doc = getattr(uapfp_dist, name).__doc__
        assert doc
        assert doc.splitlines()[0] in whole


DOCUMENTED = sorted({getattr(uapfp_dist, name).__module__ for name in uapfp_dist.__all__})


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_of_the_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for module in DOCUMENTED for test in finder.find(importlib.import_module(module)) if test.examples]
    named = {test.name.rpartition(".")[2] for test in tests}
    assert {"wrap", "load", "train", "extract", "prune", "uap", "Fingerprint", "LabelledImages", "conformal_p"} <= named
