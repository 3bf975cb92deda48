"""The on-premise cluster file, filled in for machines that are there; jobs/ray_up.py starts it."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from premises.cluster_file import on_premise
from ray.autoscaler._private.util import prepare_config, validate_config
from system import ROOT

ADDRESSES = ["10.1.0.7", "10.1.0.8", "10.1.0.9", "10.1.0.10"]


def filled(*addresses: str) -> dict[str, Any]:
    """The configuration that Ray reads."""
    config = prepare_config(yaml.safe_load(on_premise(ROOT / "cluster.yaml", addresses, "me", "/mnt/all")))
    validate_config(config)
    assert isinstance(config, dict)
    return config


def test_what_is_changed() -> None:
    config = filled(*ADDRESSES)
    assert config["provider"] == {"type": "local", "head_ip": "10.1.0.7", "worker_ips": ADDRESSES[1:]}
    assert config["auth"]["ssh_user"] == "me"
    text = str(config)
    assert all(old not in text for old in ("10.0.0.", "ubuntu", "'/shared", " /shared"))
    (start,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert "--node-ip-address=10.1.0.7 " in start
    assert "RAY_enable_autoscaler_v2=0 ray start" in start
    assert config["head_start_ray_commands"][:2] == config["worker_start_ray_commands"][:2], "the same checks"


def test_a_template_without_what_is_changed(tmp_path: Path) -> None:
    template = tmp_path / "cluster.yaml"
    template.write_text((ROOT / "cluster.yaml").read_text().replace("ssh_user: ubuntu", "ssh_user: USER"))
    with pytest.raises(ValueError, match="expected 'ubuntu' in the variant"):
        on_premise(template, ADDRESSES, "me", "/mnt/all")


# --- its checks of a machine, run here


def checked(n: int, shared: str = "/proc", python: str = platform.python_version()) -> tuple[int, str]:
    """A command before Ray is started, as a machine's shell runs it: its exit code and what it says.

    Args:
        n: which.
        shared: the folder that is expected to be mounted, as /proc is here.
        python: the version that is expected.
    """
    line = yaml.safe_load(on_premise(ROOT / "cluster.yaml", ADDRESSES, "me", shared))["worker_start_ray_commands"][n]
    line = line.replace(platform.python_version(), python)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, env=env)
    return done.returncode, done.stdout + done.stderr


def test_a_mounted_folder() -> None:
    assert checked(0) == (0, "")
    assert checked(0, shared="/nowhere") == (1, f"{platform.node()}: expected /nowhere to be mounted\n")


def test_the_same_python() -> None:
    found = f"{platform.python_version()} {ray.__version__}"
    said = f"{platform.node()}: expected Python and Ray 3.1.4 {ray.__version__}, got {found}\n"
    assert checked(1) == (0, "")
    assert checked(1, python="3.1.4") == (1, said)
