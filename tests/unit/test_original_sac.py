"""SAC against its authors' code: the comparison itself, with functions by the paper's formulae in place of theirs."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import NATURAL
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import PROBABILITIES

SCRIPT = Path(__file__).parents[2] / "jobs" / "original_sac.py"
THEIRS = """
from dataset import dataset1, dataset4
from model_load import load_model
import os, torch
from sklearn.metrics import roc_auc_score

os.environ["CUDA_VISIBLE_DEVICES"] = "7"

def correlation(m, n):
    return (1 - torch.cosine_similarity(m[:, None], n[None], dim=-1)) ** POWER / 2

def output_to_label(output):
    label = torch.nn.functional.one_hot(output.argmax(1), output.shape[1]).float()
    return (0.01 + 0.99 * label).softmax(1)

def calculate_auc(near, far):
    return roc_auc_score([0] * len(near) + [1] * len(far), near + far)
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("original_sac", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkout(folder: Path, power: int) -> Path:
    (folder / "correlation_wrong.py").write_text(THEIRS.replace("POWER", str(power)))
    return folder


def test_equal_functions_give_equal_areas(
    script: ModuleType, matrix: ResponseMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distances differ by one factor, which it names; their choice of a GPU leaves no trace."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    theirs = script.load_theirs(checkout(tmp_path, 1))
    assert "CUDA_VISIBLE_DEVICES" not in script.os.environ
    assert "dataset" not in script.sys.modules
    n = matrix.n_query_images(NATURAL)
    logits = matrix.per_model(NATURAL, PROBABILITIES, lambda p: p[:n]).clamp_min(1e-9).log()
    rows, n_stolen = script.compare_forms(theirs, matrix, logits)
    assert n_stolen
    by_form = {row.form: row for row in rows}
    assert by_form["probabilities"].factor == pytest.approx(0.5, abs=1e-6)
    for form in ("probabilities", "labels"):
        row = by_form[form]
        assert row.theirs.keys() == row.ours.keys()
        assert row.theirs
        assert row.ours == pytest.approx(row.theirs, abs=1e-9)
        assert row.largest_gap < 1e-5
    assert math.isnan(by_form["logits"].largest_gap)
    found = script.Comparison("digits", 0, len(logits), n, n_stolen, rows)
    assert "logits" in script.text(found)
    assert "without" not in script.text(found)
    found = script.Comparison("digits", 0, len(logits), n, n_stolen, rows, {"piracy": 2, "homologous": 1})
    assert "  without 1 homologous, 2 piracy, which are not in the storage\n" in script.text(found)


def test_other_functions_show(script: ModuleType, matrix: ResponseMatrix, tmp_path: Path) -> None:
    """Squared distances are no factor away from distances."""
    theirs = script.load_theirs(checkout(tmp_path, 2))
    n = matrix.n_query_images(NATURAL)
    logits = matrix.per_model(NATURAL, PROBABILITIES, lambda p: p[:n]).clamp_min(1e-9).log()
    rows, _ = script.compare_forms(theirs, matrix, logits)
    assert rows[1].largest_gap > 1e-3


def test_a_folder_that_is_no_checkout(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected correlation_wrong\.py in"):
        script.load_theirs(tmp_path)
    (tmp_path / "correlation_wrong.py").write_text("import torch\n")
    with pytest.raises(UserError, match="calculate_auc is not there"):
        script.load_theirs(tmp_path)
