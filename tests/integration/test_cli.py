"""Bad input on the command line: one line that says what was expected, exit code 2, nothing half-written."""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ray.exceptions import AuthenticationError
from system import JOB, NO_DATABASE, ROOT, environment, flags, free_ports, job, tiny

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.cluster.session import session
from uapfp_dist.config.presets import PRESETS
from uapfp_dist.data import DATASETS
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.models.training import PEAK_RATES
from uapfp_dist.storage.store import Store


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: object
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """full_eval.py in this process, in an empty folder: fast, for input that is refused before any work."""
    monkeypatch.chdir(tmp_path)
    for name in ("UAPFP_STORAGE", "UAPFP_DATA", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", [str(JOB), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(JOB), run_name="__main__")
        return Result(end.value.code, *capfd.readouterr())

    return call


FIRST = ("digits, seed 0: ", "to make: ")


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one line of error, with `words` in it; the job may have printed its first lines before."""
    lines = result.err.splitlines()
    assert result.code == 2, result.err
    assert [line for line in lines if not line.startswith(FIRST)] == lines[-1:], result.err
    assert lines[-1].startswith("full_eval: error: ")
    assert "Traceback" not in result.err + result.out
    for word in words:
        assert word in lines[-1]


def nothing_half_written(folder: Path) -> None:
    assert not list(folder.rglob("*.tmp"))
    assert not list(folder.rglob("model/*"))


# --- names and numbers


@pytest.mark.parametrize(
    ("flag", "kind", "table"),
    [
        ("--preset", "preset", PRESETS),
        ("--data.name", "data set", DATASETS),
        ("--zoo.architectures", "architecture", ARCHITECTURES),
        ("--zoo.victim-architecture", "architecture", ARCHITECTURES),
        ("--zoo.optimizers", "optimizer", PEAK_RATES),
        ("--extraction.attacks", "attack", ATTACKS),
        ("--methods", "method", METHODS),
    ],
)
def test_an_unknown_name_lists_the_known_ones(
    flag: str, kind: str, table: dict[str, object], run: Run, tmp_path: Path
) -> None:
    refused(run(flag, "nosuch"), f"unknown {kind} 'nosuch'", *table)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fingerprint.n-points", 751], ["n_points", "at most the 750 images of D_v", "751"]),
        (["--fingerprint.n-points", 149], ["n_points", "at most the 148 images of PROBE", "149"]),
        (
            ["--siblings.n-committee", 1],
            ["siblings.n_committee", "at least 2, got 1", "(option --siblings.n-committee)"],
        ),
        (["--siblings.n-committee", 0], ["siblings.n_committee", "got 0 with 5 models of sibling piracy"]),
        (
            ["--siblings.n-committee", 0, "--siblings.n-piracy", 0, "--methods", "uap", "weighted_churn"],
            ["expected siblings for weighted_churn, got none", "(option --siblings.n-committee)"],
        ),
        (["--siblings.n-piracy", -1], ["siblings.n_piracy", "-1"]),
        (["--siblings.gate", 1.5], ["siblings.gate", "from 0 to 1", "1.5"]),
        (["--churn.largest-share", 1], ["churn.largest_share", "0.99"]),
        (["--churn.per-image", 0], ["churn.per_image", "got 0"]),
        (["--churn.budgets", 100, 0], ["churn.budgets", "got 0"]),
        (["--fingerprint.n-test-views", 21], ["n_test_views", "from 2 to 20", "21"]),
        (["--verdict.alpha", 0], ["alpha", "got 0"]),
        (["--verdict.formats", "label", "top0"], ["'top0'", "top<k>", "(option --verdict.formats)"]),
        (["--extraction.soft-labels", "loud"], ["'loud'", "top<k>", "(option --extraction.soft-labels)"]),
        (["--verdict.n-train", 12], ["n_piracy", "got 12"]),
        (["--zoo.overlap", 1.5], ["overlap", "from 0 to 1", "1.5"]),
        (["--zoo.epochs", "nan"], ["epochs", "nan"]),
        (["--zoo.epochs", -1], ["epochs", "-1"]),
        (["--zoo.architectures"], ["at least one architecture"]),
        (["--data.outside-shares", 0.5, 0.2, 0.2], ["outside_shares", "sum to 1"]),
        (["--data.outside-shares", 1.2, -0.4, 0.2], ["outside_shares"]),
        (["--uap.xi-grid"], ["xi_grid"]),
        (["--uap.xi-grid", -0.1], ["xi_grid"]),
        (["--uap.n-images", 0], ["n_images"]),
        (["--encoder.batch-size", 0], ["batch_size"]),
        (["--encoder.tau", 0], ["tau"]),
        (["--zoo.n-other-piracy", -1], ["n_other_piracy"]),
        (["--extraction.rounds", -1], ["rounds"]),
        (["--workers", -1], ["workers"]),
        (["--gpus-per-worker", "nan"], ["gpus-per-worker", "nan"]),
        (["--gpus-per-worker", 1, "--workers", 0], ["workers", "GPU"]),
        (["--preset", "digits", "--preset", "nosuch"], ["nosuch", "digits-large"]),
        (["--gpu-shares", "resnet18"], ["gpu-shares", "NAME=SHARE", "'resnet18'"]),
        (["--gpu-shares", "resnet18=0.5", "A=0"], ["gpu-shares", "above 0", "'A=0'"]),
        (["--gpu-shares", "A=much"], ["gpu-shares", "'A=much'"]),
        (["--gpu-shares", "resnt18=0.5"], ["unknown architecture", "'resnt18'", "resnet18"]),
        (["--gpu-shares", "A=0.5", "--gpus-per-worker", 1], ["gpu-shares", "gpus_per_worker"]),
        (["--spec-timeout", 0], ["spec-timeout", "got 0"]),
        (["--spec-timeout", "nan"], ["spec-timeout", "nan"]),
    ],
)
def test_an_impossible_number_is_refused_before_any_work(
    arguments: list[object], words: list[str], run: Run, tmp_path: Path
) -> None:
    """With an address where no cluster is: whatever is not refused ends there, with another error."""
    refused(run("--address", "nowhere", *arguments), *words)
    nothing_half_written(tmp_path)


def test_a_flag_that_does_not_exist_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("--zoo.n-pirates", 3)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert not list(tmp_path.iterdir())


def test_help_mentions_every_preset(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    words = result.out.replace("\n", " ")
    assert all(name in words for name in PRESETS)


# --- Ray's token


@pytest.mark.parametrize("set_to", [None, "token", "disabled"])
@pytest.mark.parametrize("where", ["here", "argument", "variable"])
def test_only_a_local_ray_does_without_a_token(where: str, set_to: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cluster the token is needed; a variable that is set stays."""
    for name, value in (("RAY_AUTH_MODE", set_to), ("RAY_ADDRESS", "10.0.0.1:6379" if where == "variable" else None)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    default_auth_mode("10.0.0.1:6379" if where == "argument" else None)
    assert os.environ.pop("RAY_AUTH_MODE", None) == (set_to or ("disabled" if where == "here" else None))


def test_a_cluster_that_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise AuthenticationError("no token was found\nand some advice")

    monkeypatch.setattr("ray.init", init)
    with (
        pytest.raises(UserError, match=r"could not reach it \(no token was found.*the auth token") as error,
        session("auto"),
    ):
        pass
    assert "\n" not in str(error.value)


def test_the_auth_mode_is_set_in_one_place() -> None:
    sources = [*(ROOT / "uapfp_dist").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]
    setting = [path.name for path in sources if 'setdefault("RAY_AUTH_MODE"' in path.read_text()]
    assert setting == ["workers.py"]


# --- data


def test_missing_data(run: Run) -> None:
    refused(run("--preset", "fashion_mnist-small"), "--data-root", "UAPFP_DATA")


def test_torn_data(run: Run, tmp_path: Path) -> None:
    """Four files with the right names and nothing in them."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    refused(run("--preset", "fashion_mnist-small", "--data-root", tmp_path / "data"), str(raw))


def test_a_missing_folder_of_images(run: Run, tmp_path: Path) -> None:
    refused(run("--data.name", "imagefolder", "--data-root", tmp_path / "none"), "none", "--data-root")


def test_a_folder_with_a_torn_image(run: Run, tmp_path: Path) -> None:
    """The 15th of 40 images is truncated."""
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "pictures" / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    torn = tmp_path / "pictures" / "cat" / "15.png"
    torn.write_bytes(torn.read_bytes()[:60])
    refused(run("--data.name", "imagefolder", "--data-root", tmp_path / "pictures"), str(torn))


# --- storage, MLflow and reports


def test_storage_that_is_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(run("--storage", tmp_path / "file"), "file", "expected a folder that can be written")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_storage_without_write_permission(run: Run, tmp_path: Path) -> None:
    Store(str(tmp_path / "theirs"))
    (tmp_path / "theirs").chmod(0o555)
    refused(run("--storage", tmp_path / "theirs"), "theirs", "expected a folder that can be written")


def test_storage_of_another_version(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "store.json").write_text('{"format": 0}')
    refused(run("--storage", tmp_path / "old"), "format 0", "--storage")


def test_remote_storage_needs_a_tracking_server(run: Run) -> None:
    refused(run("--storage", "memory://somewhere"), "--mlflow-uri")


def test_a_report_in_a_missing_folder(run: Run, tmp_path: Path) -> None:
    refused(run("--report", tmp_path / "none" / "report.json"), "existing folder")
    assert not list(tmp_path.iterdir())


def test_a_report_that_is_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(run("--report", tmp_path / "folder", *flags(tiny()), "--workers", 0), "report")
    nothing_half_written(tmp_path)


def ended(folder: Path, *arguments: str) -> Result:
    """The tiny job as a process, for errors that come later; not one model may have been stored."""
    with job(folder, *arguments) as running:
        code = running.wait(60.0)
        nothing_half_written(folder)
        return Result(code, running.stdout, running.stderr)


def test_a_torn_database(run: Run, tmp_path: Path) -> None:
    (tmp_path / "torn.db").write_text(NO_DATABASE)
    refused(run(*flags(tiny()), "--mlflow-uri", f"sqlite:///{tmp_path}/torn.db", "--workers", 0), "mlflow", "torn.db")
    nothing_half_written(tmp_path)


@pytest.mark.parametrize("scheme", ["", pytest.param("ray://", marks=pytest.mark.slow)])
def test_a_ray_cluster_that_does_not_respond(scheme: str, tmp_path: Path) -> None:
    address = f"{scheme}127.0.0.1:{free_ports(1)[0]}"
    refused(ended(tmp_path, "--address", address), "ray", address, "--address")


def test_an_interruption_does_not_wait_for_threads(tmp_path: Path) -> None:
    """Encoders are trained in threads of this process, for minutes if there are many models."""
    code = (  # os.write: two threads that print at once may share a line
        "import os, time; from uapfp_dist.command import main; from uapfp_dist.concurrency import map_threads; "
        "main(lambda: map_threads(lambda i: (os.write(1, b'at work\\n'), time.sleep(120)), range(4), 2))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"at work\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 130
        assert running.stderr is not None
        assert b"the same command resumes" in running.stderr.read()
