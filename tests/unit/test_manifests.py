"""The manifests of clusters, by Ray's validator and the parser of the main job; nothing is started."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from commands import parsed
from ray._private.runtime_env.packaging import create_package
from ray._private.runtime_env.working_dir import upload_working_dir_if_needed
from ray.autoscaler._private.util import prepare_config, validate_config
from system import ROOT

from uapfp_dist.cli.evaluate import Evaluate

CLUSTER = (ROOT / "cluster.yaml").read_text()
OPEN, CLOSE = "# >>> on premise\n", "# <<< on premise"
JOB_FILE = "jobs/full_eval.py"


def commented(text: str) -> str:
    """The variant between the two markers, uncommented."""
    block = text.split(OPEN)[1].split(CLOSE)[0]
    assert all(line.startswith("# ") for line in block.splitlines())
    return "\n".join(line[2:] for line in block.splitlines())


def checked(text: str) -> dict[str, Any]:
    """The configuration that Ray reads from a valid file."""
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    assert isinstance(config, dict)
    return config


def in_comment(text: str) -> str:
    """The command in a comment, on one line."""
    lines = [line.removeprefix("#").strip().removesuffix("\\") for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if JOB_FILE in line)
    return " ".join(lines[start : lines.index("", start)]).split("ray down")[0]


def job_of(command: str) -> Evaluate:
    """A command line, parsed as the main job does."""
    words = shlex.split(command)
    script = next(i for i, word in enumerate(words) if word.endswith(JOB_FILE))
    assert (ROOT / JOB_FILE).exists()
    chosen: Evaluate = parsed("evaluate", *words[script + 1 :])
    return chosen


def test_ray_up_on_aws() -> None:
    config = checked(CLUSTER)
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"]["CPU"] == 0, "the head trains nothing"
    assert kinds["gpu_worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert kinds["gpu_worker"]["min_workers"] == 0
    assert kinds["gpu_worker"]["resources"]["CPU"] >= 4, "four workers of a quarter of a GPU need a CPU each"
    assert any("uapfp_dist" in command for command in config["setup_commands"])


def test_ray_up_on_premise() -> None:
    config = checked(commented(CLUSTER))
    assert config["provider"]["type"] == "local"
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


def test_the_validator_refuses_a_wrong_file() -> None:
    with pytest.raises(Exception, match="provider"):
        checked(CLUSTER.replace("provider:", "povider:"))


def test_head_and_workers_use_tokens() -> None:
    for text in (CLUSTER, commented(CLUSTER)):
        config = checked(text)
        for side in ("head", "worker"):
            starts = [line for line in config[f"{side}_start_ray_commands"] if "ray start" in line]
            assert starts
            assert all("RAY_AUTH_MODE=token" in line for line in starts)
        assert "~/.ray/auth_token" in config["file_mounts"]


def test_the_commands_in_the_comments() -> None:
    job = job_of(in_comment(CLUSTER))
    assert job.runtime.gpus_per_worker == 0.25
    assert str(job.runtime.storage).startswith("s3://")


# --- Kubernetes


@pytest.fixture(scope="module")
def ray_job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())
    return found


SPEC_FIELDS = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec"}
CLUSTER_FIELDS = {
    *("rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "authOptions", "headGroupSpec", "workerGroupSpecs"),
}
HEAD_FIELDS = {"rayStartParams", "template"}
WORKER_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
"""Fields of the published definitions (ray.io/v1) that this file uses: Kubernetes refuses unknown ones."""


def test_a_ray_job_of_kuberay(ray_job: dict[str, Any]) -> None:
    assert (ray_job["apiVersion"], ray_job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(ray_job["spec"]) <= SPEC_FIELDS
    cluster = ray_job["spec"]["rayClusterSpec"]
    assert set(cluster) <= CLUSTER_FIELDS
    assert set(cluster["headGroupSpec"]) <= HEAD_FIELDS
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKER_FIELDS
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        params = group["rayStartParams"]
        assert all(isinstance(value, str) for value in params.values()), "KubeRay takes strings only"


def test_containers_and_their_devices(ray_job: dict[str, Any]) -> None:
    cluster = ray_job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    names = [pod["containers"][0]["name"] for pod in pods]
    assert names == ["ray-head", "ray-worker"]
    for pod in pods:
        (container,) = pod["containers"]
        assert container["image"] == "IMAGE"
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert limits == requests
        assert all(isinstance(amount, str) for amount in limits.values())
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in pods]
    assert gpus == [None, "1"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_entrypoint_is_a_command_line_of_the_main_job(ray_job: dict[str, Any]) -> None:
    job = job_of(ray_job["spec"]["entrypoint"])
    group = ray_job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    share = job.runtime.gpus_per_worker
    assert share
    assert job.runtime.workers == group["maxReplicas"] / share, "the most that the cluster can grow to"
    assert str(job.runtime.storage).startswith("s3://"), "pods share no disk"
    assert job.runtime.mlflow_uri


# --- the working directory of a submitted job


SOURCES = ("README.md", "uapfp_dist/data/digits.py", "uapfp_dist/verification/kit/kit.py", "jobs/full_eval.py")
WRITTEN = (
    *("results/model/x.safetensors", "results-large/model/x.safetensors", "mlflow.db", "mlruns/0/x", ".venv/x"),
    *("DATA/FashionMNIST/raw/x.gz", "data/x.bin", "kit/kit.json", "verdict/verdict.html", "verification/x.jsonl"),
    *("over_seeds/x.json", "over_seeds-large/x.json", "false_accusations/digits-0/kit.json", "my.db"),
    *("report.json", "transfer.json", "transfer/x.json"),
)
"""Files that the README's commands write into the working directory."""


def used_copy(copy: Path) -> Path:
    """A copy of the project in which every command has been run."""
    for name in (*SOURCES, *WRITTEN, "jobs/results/x.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("x")
    for ignore in (".gitignore", "jobs/.rayignore"):
        (copy / ignore).write_text((ROOT / ignore).read_text())
    return copy


def test_files_of_a_submitted_job(tmp_path: Path) -> None:
    """Ray leaves out .git and all that .gitignore and .rayignore name; nothing else of this project is large."""
    copy = used_copy(tmp_path / "project")
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("x")
    package = tmp_path / "package.zip"

    def pack(path: str, excludes: list[str] | None, is_file: bool = False) -> None:
        create_package(path, package, include_gitignore=True, excludes=excludes)

    upload_working_dir_if_needed({"working_dir": str(copy)}, include_gitignore=True, upload_fn=pack)
    with ZipFile(package) as files:
        names = {name.removeprefix("project/") for name in files.namelist() if not name.endswith("/")}
    assert {name for name in names if "ignore" not in name} == set(SOURCES)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_files_of_a_commit(tmp_path: Path) -> None:
    """Published results are part of the project, files that the README's commands write are not."""
    copy = used_copy(tmp_path / "project")
    command = ["git", "-C", str(copy), "ls-files", "--others", "--exclude-standard"]
    subprocess.run(["git", "init", "--quiet", str(copy)], check=True)
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {name for name in names if "ignore" not in name} == {*SOURCES, "jobs/results/x.json"}
