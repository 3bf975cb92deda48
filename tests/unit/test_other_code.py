"""A storage that other code, or a run in another precision, has filled: what is said of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from system import MODELS, copy_store, run_here, tiny, tiny_plan

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.evaluation import other_code as other_code_module
from uapfp_dist.evaluation.other_code import by_other_code, other_code
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.other_precision import in_other_precision
from uapfp_dist.storage import artifacts
from uapfp_dist.storage.artifacts import Artifact, decode, decode_header, encode
from uapfp_dist.storage.code_version import PACKAGE, PARTS, code_digest, code_version
from uapfp_dist.storage.store import HEADER_BYTES, Store
from uapfp_dist.tasks.hashing import Spec

pytestmark = pytest.mark.usefixtures("blank_figures")

SOURCE = '"""What it is."""\n\nRATE = 0.1\n"""Of steps."""\n\n\ndef f(x):\n    # halved\n    return x / 2  # twice\n'


@pytest.fixture(scope="module")
def plan() -> Plan:
    return tiny_plan()


@pytest.fixture(scope="module")
def evaluated(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """By this code, in float32."""
    store = Store(str(tmp_path_factory.mktemp("code") / "store"))
    run_here(plan, store)
    return store


def test_words_are_no_code() -> None:
    same = 'RATE = 0.1\n"""Of each step.\n\nNow in two lines."""\ndef f(x):\n    return x / 2\n'
    assert code_digest([SOURCE]) == code_digest([same])
    for other in (SOURCE.replace("0.1", "0.2"), SOURCE.replace("x / 2", 'x / "#2"'), SOURCE + "f(1)\n"):
        assert code_digest([other]) != code_digest([SOURCE])
    assert code_digest([SOURCE, ""]) != code_digest([SOURCE])


def test_the_version_covers_what_makes_models() -> None:
    assert all((PACKAGE / part).exists() for part in PARTS)
    number, _, digest = code_version().partition("+")
    assert number[0].isdigit()
    assert len(digest) == 8


def test_an_artifact_names_the_code_that_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its content, which other code reads as ever; the tensors need not be read for it."""
    store, tensors = Store(str(tmp_path)), {"w": torch.arange(100_000.0)}
    store.put("model", "a", tensors, {"seconds": 1.0})
    monkeypatch.setattr(artifacts, "code_version", lambda: "0.0.9+old")
    store.put("model", "b", tensors, {"long": "x" * 2 * HEADER_BYTES})
    Path(store.path("model", "c")).write_bytes(b"\xff" * 100)
    found = store.headers("model", ["a", "b", "c", "d"])
    assert {key: header.code for key, header in found.items()} == {"a": code_version(), "b": "0.0.9+old"}
    assert found["a"].info == store.get("model", "a").info == {"seconds": 1.0}
    assert Path(store.path("model", "b")).stat().st_size > 400_000


def test_artifacts_of_before_name_none() -> None:
    raw = encode("model", "a", Artifact({"w": torch.ones(2)}, {"x": 1}))
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    del header["__metadata__"]["code"]
    text = json.dumps(header).encode()
    before = len(text).to_bytes(8, "little") + text + raw[8 + length :]
    assert decode(before, "a") is not None
    found = decode_header(before, "a")
    assert found is not None
    assert (found.info, found.code) == ({"x": 1}, "")
    assert decode_header(before, "b") is None


def test_what_is_said_of_other_code() -> None:
    assert by_other_code(["1+a", "1+a"], "1+a") == by_other_code([], "1+a") == ()
    (said,) = by_other_code(["", "1+b", "1+a", "1+b"], "1+a")
    assert said.startswith("3 of 4 models were made by another version of the code (1+b, unrecorded)")
    assert said.endswith("is by 1+a")


def test_an_evaluation_taken_up_by_other_code_says_so(
    plan: Plan, evaluated: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it begins and in the report; by the same code it says nothing."""
    assert other_code(evaluated, plan.specs) == ()
    store = copy_store(Path(evaluated.root), tmp_path / "store")
    store.discard("answers", plan.response(plan.judged[-1]).id)
    for module in (other_code_module, artifacts):
        monkeypatch.setattr(module, "code_version", lambda: "9.9.9+new")
    monkeypatch.setattr("uapfp_dist.evaluation.cost.code_version", lambda: "9.9.9+new")
    report = run(tiny(), "digits", 0, RuntimeConfig(storage=store.url, workers=0))
    (remark,) = [remark for remark in report.remarks if "version of the code" in remark]
    assert remark.startswith(f"{MODELS} of {MODELS} models were made by another version of the code ({code_version()})")
    lines = capsys.readouterr().err.splitlines()
    assert remark in lines
    assert lines.index(remark) == 1 + next(i for i, line in enumerate(lines) if line.startswith("to make: 0 models"))


def test_models_of_the_other_precision_are_named_before_they_are_made_anew(plan: Plan, evaluated: Store) -> None:
    def specs_of(config: Config) -> tuple[Spec, ...]:
        return tiny_plan(config).specs

    assert in_other_precision(tiny(), evaluated, specs_of) == ""
    said = in_other_precision(replace(tiny(), precision="bfloat16"), evaluated, specs_of)
    assert said.startswith(f"{MODELS} of these {MODELS} models lie in the storage in float32; this run is in bfloat16")
    assert said.endswith("precision float32 takes those up")


def test_an_evaluation_in_the_other_precision_says_so_before_anything_is_made(
    evaluated: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it is refused for what it costs: to go on in the other precision costs less."""
    store = copy_store(Path(evaluated.root), tmp_path / "store")
    config = replace(tiny(), precision="bfloat16")
    with pytest.raises(Exception, match="max_hours"):
        run(config, "digits", 0, RuntimeConfig(storage=store.url, workers=0, max_hours=1e-6))
    assert f"{MODELS} of these {MODELS} models lie in the storage in float32" in capsys.readouterr().err
