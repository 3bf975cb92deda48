"""A storage, a kit and an MLflow database that earlier code wrote: nothing is made again, nothing is said otherwise."""

import json
import lzma
import math
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine
from system import tiny

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, ModificationConfig, StudyConfig
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.launch.evaluation import run
from uapfp_dist.progress import Progress
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Artifact, Store
from uapfp_dist.tasks.method_configs import SubspaceConfig
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_file import verdict_json

FROZEN = Path(__file__).parents[1] / "frozen"
WRITTEN_AT = "/tmp/w/small/results"
"""Where the storage lay; MLflow's database names it."""
NEVER_AGAIN = ("model", "trajectory", "probe", "answers", "subspace", "draw", "trial", "splits", "plan")
"""Kinds of artifacts; one more of any of these would be one made again."""
OF_THE_RUN = ("wall_seconds", "stage_seconds", "environment", "models", "workers_busy")
"""Parts of a report that no two runs share."""

pytestmark = pytest.mark.usefixtures("blank_figures")


def frozen_config() -> Config:
    """What the storage was made by: every kind of spec, each a few times."""
    base = tiny()
    return replace(
        base,
        zoo=replace(base.zoo, width=2, epochs=3.0),
        extraction=replace(base.extraction, jacobian_labels="substitute"),
        uap=replace(base.uap, n_uaps=2, xi_grid=(0.3, 0.6)),
        fingerprint=replace(base.fingerprint, n_points=6, n_views=4, n_test_views=3, n_natural=15, max_natural=25),
        modifications=ModificationConfig(
            n_piracy=1,
            n_homologous=0,
            fine_tune=("last",),
            fine_tune_epochs=1.0,
            prune=(0.4,),
            recovery_epochs=0.0,
            distill_to=None,
            compose=False,
            n_adversarial=1,
            adversarial_labels=("own",),
            adversarial_iterations=2,
            adversarial_every=1,
        ),
        studies=StudyConfig(
            n_subspace=1,
            subspace=replace(base.studies.subspace, n_uaps=4, n_images=40, passes=1, start=1.0, largest_cosine=1.0),
            n_trajectories=1,
            recoveries=(0.2, 0.4),
            n_overlap=1,
            overlaps=(0.5,),
            sweeps=True,
            n_points=(3,),
            top_k=(1,),
            n_views=(2,),
            n_resamples=2,
            whole_clusters=True,
        ),
        verdict=replace(base.verdict, formats=(PROBABILITIES, ResponseFormat(3), LABEL), train_pool=3),
    )


def unpacked(name: str, folder: Path) -> Path:
    """The files of an archive, and the archive's folder."""
    with tarfile.open(FROZEN / name) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Storage, report and grid, with the database beside the artifacts, as if the storage had been moved here."""
    folder = unpacked("evaluation.tar.xz", tmp_path)
    database = folder / "results" / "mlflow.db"
    database.write_bytes(lzma.decompress((FROZEN / "mlflow.db.xz").read_bytes()))
    with closing(sqlite3.connect(database)) as moved, moved:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            moved.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (WRITTEN_AT, str(folder / "results"))
            )
    _upgrade_db(create_sqlalchemy_engine(f"sqlite:///{database}"))  # a later MLflow wants its own tables
    return folder


def artifacts(storage: Path) -> dict[str, set[str]]:
    """Kind to the files of that kind."""
    return {kind: {path.name for path in (storage / kind).glob("*.safetensors")} for kind in NEVER_AGAIN}


def runs(storage: Path) -> dict[str, str]:
    """Every run to its name."""
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_id: run.info.run_name for run in client.search_runs(experiments, max_results=1000)}


def assert_same(ours: Any, theirs: Any, at: str = "") -> None:
    """Equal but for the last digits of numbers: another processor sums in another order."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), at
        assert ours.keys() == theirs.keys(), at
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{at}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), at
        for i, item in enumerate(theirs):
            assert_same(ours[i], item, f"{at}/{i}")
    elif isinstance(theirs, float):
        assert math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-7), f"{at}: {ours} for {theirs}"
    else:
        assert ours == theirs, at


CHANGED = (
    "fingerprints by UAP tell piracy from homologous models",
    "UAP fingerprints beat IPGuard",
    "Inconsist of homologous models is 3 times that of piracy (Fig. 2b)",
)
"""Claims that are judged by other numbers now."""
OTHER_CODE = "22 of 22 models were made by another version of the code (unrecorded)"


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """The rest of it: without what is said otherwise on purpose.

    Intervals of modified models are over those that they were made of, those of models stolen from others over their
    victims, those of perfect separation not without width; IPGuard's row is not what was called so; a remark says that
    other code made the models.
    """
    found: dict[str, Any] = as_said_today(report, OF_REPORTS)
    if "remarks" in found:
        found["remarks"] = [remark for remark in found["remarks"] if OTHER_CODE not in remark]
    _without_intervals(found)
    found.pop("victims", None)
    if shown := found.get("exhibits"):
        for name in ("recovery_methods", "removal"):  # sections of today's
            shown.pop(name, None)
        for row in shown.get("recovery") or ():  # stops of one extraction are resampled together
            for name in ("extractions", *(name for name in row if name.endswith(("_low", "_high")))):
                row.pop(name, None)
        kept = {r: row for r, row in shown["fooling"].items() if not r.startswith("modified_")}
        shown["fooling"] = {role: row for role, row in kept.items() if role != "other_victim_piracy"}
        shown["claims"] = [without(row, ("rule",)) for row in shown["claims"] if row["claim"] not in CHANGED]
        shown["beside_paper"] = [row for row in shown["beside_paper"] if row["quantity"] != "AUC of IPGuard"]
        for name in ("start_cosine", "forgotten"):
            shown["subspace"].pop(name, None)
    return found


def _without_intervals(value: Any, of_others: bool = False) -> None:
    """Drop those of AUC against models stolen from another victim, and of what is 0 or 1."""
    if isinstance(value, dict):
        for key in list(value):
            name, _, end = key.rpartition("_")
            others = key.startswith("auc_other_victim_") or (of_others and not name)
            if end in ("low", "high") and (others or value.get(name or "mean") in (0.0, 1.0)):
                del value[key]
            else:
                _without_intervals(value[key], key == "other_victim")
    elif isinstance(value, list):
        for each in value:
            _without_intervals(each)


def without(report: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The rest of it."""
    return {key: value for key, value in report.items() if key not in names}


OF_VERDICTS = {
    "`inconclusive` does not mean innocent.": "`inconclusive` does not mean independent.",
    "An innocent model is accused": "An independent model is accused",
}
OF_KITS = {"above every innocent one": "above every negative"}
OF_REPORTS = {"of innocent homologous models": "of homologous models"}
"""Sentences of before to those of today, which say the same."""


def as_said_today(found: Any, sentences: dict[str, str]) -> Any:
    """The same in today's words."""
    text = json.dumps(found)
    for before, now in sentences.items():
        text = text.replace(before, now)
    return json.loads(text)


def test_an_evaluation_of_before_is_resumed(evaluation: Path) -> None:
    """Its report lacks the files of MLflow alone: it is judged again, and every number is what it was."""
    storage = evaluation / "results"
    before, shown = artifacts(storage), runs(storage)
    report = evaluation / "new.json"
    run(frozen_config(), "digits", 0, RuntimeConfig(storage=str(storage), workers=0, report=report))
    ours, theirs = json.loads(report.read_text()), json.loads((evaluation / "report.json").read_text())
    assert ours["models"] == {"trained": 0, "reused": 22, "failed": 0}
    assert any(OTHER_CODE in remark for remark in ours["remarks"])
    assert_same(comparable(without(ours, OF_THE_RUN)), comparable(without(theirs, OF_THE_RUN)))
    assert artifacts(storage) == before
    assert runs(storage) == shown  # brought up to date, not shown twice


def test_a_grid_of_before_is_resumed(evaluation: Path) -> None:
    storage = evaluation / "results"
    before, shown = artifacts(storage), runs(storage)
    around = RuntimeConfig(storage=str(storage), workers=0, report=evaluation / "new.json")
    run_grid(frozen_config(), "digits", 0, around, ["n_points=3,6", "top_k=0,10"])
    ours, theirs = (json.loads((evaluation / name).read_text()) for name in ("new.json", "grid.json"))
    assert ours["encoders_trained"] == 0
    counts = (*OF_THE_RUN, "encoders_trained", "trials")
    assert_same(comparable(without(ours, counts)), comparable(without(theirs, counts)))
    assert artifacts(storage) == before
    assert runs(storage) == shown


@pytest.mark.parametrize(
    "kinds", [("answers",), ("probe",), ("splits", "subspace", "draw", "trial", "report"), ("ablation",)], ids="-".join
)
def test_what_is_made_again_is_what_was_there(kinds: tuple[str, ...], evaluation: Path) -> None:
    """Earlier code could go on with it: the same names, shapes and, where nothing is trained, numbers."""
    storage = evaluation / "results"
    removed = {kind: min((storage / kind).glob("*.safetensors")) for kind in kinds}
    theirs = {kind: Store(str(storage)).get(kind, path.stem) for kind, path in removed.items()}
    for path in removed.values():
        path.unlink()
    around = RuntimeConfig(storage=str(storage), workers=0)
    if kinds == ("ablation",):
        run_grid(frozen_config(), "digits", 0, around, ["n_points=3,6", "top_k=0,10"])
    else:
        run(frozen_config(), "digits", 0, around)
    for kind, path in removed.items():
        assert_same_artifact(Store(str(storage)).get(kind, path.stem), theirs[kind])


def assert_same_artifact(ours: Artifact, theirs: Artifact) -> None:
    """As JSON, and tensor by tensor."""
    counts = (*OF_THE_RUN, "encoders_trained", "trials")
    mine, before = (comparable(without(artifact.info, counts)) for artifact in (ours, theirs))
    assert_same(mine, as_said_today(before, OF_REPORTS))
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in theirs.tensors.items():
        torch.testing.assert_close(ours.tensors[name], tensor, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("kind", ["model", "trajectory"])
def test_a_model_is_made_again_in_the_same_form(kind: str, evaluation: Path) -> None:
    """Another processor may train it to other weights."""
    storage = evaluation / "results"
    removed = max((storage / kind).glob("*.safetensors"), key=lambda path: path.name)
    theirs = Store(str(storage)).get(kind, removed.stem)
    removed.unlink()
    run(frozen_config(), "digits", 0, RuntimeConfig(storage=str(storage), workers=0))
    ours = Store(str(storage)).get(kind, removed.stem)
    assert ours.info.keys() == theirs.info.keys()
    assert {name: tensor.shape for name, tensor in ours.tensors.items()} == {
        name: tensor.shape for name, tensor in theirs.tensors.items()
    }


@pytest.fixture
def enrollment(tmp_path: Path) -> Path:
    """Storage, kit and two verifications."""
    return unpacked("enrollment.tar.xz", tmp_path)


def test_an_enrolment_of_before_is_resumed(enrollment: Path) -> None:
    """Nothing is trained, and it comes to the kit that was published: the digest is the commitment."""
    studies = StudyConfig(subspace=SubspaceConfig(start=1.0, largest_cosine=1.0))
    config = replace(frozen_config(), modifications=ModificationConfig(), studies=studies)
    small = EnrollConfig(
        alpha=0.5,
        groups=("homologous", "same_data", "other_victim"),
        attacks=("cloudleak", "knockoff"),
        n_train=2,
        n_train_piracy=1,
        n_test=1,
        n_test_piracy=1,
        n_committee=0,
        calibration_factor=1,
    )
    before = artifacts(enrollment / "results")
    progress = Progress(workers=1)
    kit = enroll_locally(config, small, 0, store=enrollment / "results", progress=progress)
    theirs = load_kit(enrollment / "kit")
    assert progress.counts()["trained"] == 0
    assert artifacts(enrollment / "results") == before
    *limits, last = kit.info.limits
    assert last.startswith("No siblings of the victim")
    assert_same(to_json(replace(kit.info, limits=tuple(limits))), as_said_today(to_json(theirs.info), OF_KITS))
    for fmt, similarity in theirs.similarity.items():
        torch.testing.assert_close(kit.similarity[fmt], similarity, rtol=0, atol=1e-4)
    assert torch.equal(kit.images, theirs.images)


@pytest.mark.parametrize(("folder", "name"), [("verdict", "copy"), ("verdict-label", "labels")])
def test_a_verification_of_before_is_judged_alike(folder: str, name: str, enrollment: Path) -> None:
    kit = load_kit(enrollment / "kit")
    cases = replay(kit, [enrollment / folder / f"{name}.transcript.jsonl"])
    theirs = json.loads((enrollment / folder / "verdict.json").read_text())
    assert_same(json.loads(json.dumps(verdict_json(kit, cases))), as_said_today(theirs, OF_VERDICTS))


def test_a_kit_is_written_as_before(enrollment: Path) -> None:
    """Loaded and saved again it is the same bytes."""
    kit = load_kit(enrollment / "kit")
    assert save_kit(kit, enrollment / "again") == kit.digest
    for file in ("kit.json", "kit.safetensors"):
        assert (enrollment / "again" / file).read_bytes() == (enrollment / "kit" / file).read_bytes()
    shutil.rmtree(enrollment / "again")
