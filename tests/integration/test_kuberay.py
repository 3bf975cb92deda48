"""jobs/rayjob.yaml, and the RayCluster in it, by the definitions that KubeRay publishes, in full.

They are long, so they are not kept here. Get `ray.io_rayjobs.yaml` and `ray.io_rayclusters.yaml` of a release (1.6.0
and 1.7.0 were tried) from helm-chart/kuberay-operator/crds of https://github.com/ray-project/kuberay, then:

    KUBERAY_CRDS=FOLDER pytest -m heavy tests/integration/test_kuberay.py
"""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes_schema import closed, published_schema, rules_that_apply
from system import ROOT

FOLDER = os.environ.get("KUBERAY_CRDS", "")
published = pytest.mark.skipif(not FOLDER, reason="needs KUBERAY_CRDS, the folder of KubeRay's definitions")


def manifest(kind: str) -> dict[str, Any]:
    """The RayJob, or a RayCluster of its cluster."""
    job: dict[str, Any] = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())
    if kind == "RayJob":
        return job
    return {**job, "kind": kind, "spec": job["spec"]["rayClusterSpec"]}


def errors(schema: dict[str, Any], value: dict[str, Any]) -> list[str]:
    """Where and why a value is not as the schema says."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.heavy
@published
@pytest.mark.parametrize(("kind", "file"), [("RayJob", "rayjobs"), ("RayCluster", "rayclusters")])
def test_published_definitions(kind: str, file: str) -> None:
    schema, value = published_schema(Path(FOLDER) / f"ray.io_{file}.yaml", "v1"), manifest(kind)
    assert errors(schema, value) == []
    assert list(rules_that_apply(schema, value)) == []
    for broken, where in broken_manifests(value):
        assert any(where in error for error in errors(schema, broken)), where


def broken_manifests(value: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The manifest with one mistake each, and what the error names."""
    job, where = value["kind"] == "RayJob", []
    for path, wrong, named in (
        (("headGroupSpec", "template", "spec", "containers", 0, "imagee"), "IMAGE", "imagee"),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0, "num-cpus"),
        (("workerGroupSpecs", 0, "replicas"), "1", "replicas"),
        (
            ("workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources", "limits", "memory"),
            "24 GB",
            "memory",
        ),
        (("authOptions", "mode"), "tokens", "mode"),
    ):
        broken = copy.deepcopy(value)
        node: Any = broken["spec"]["rayClusterSpec"] if job else broken["spec"]
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = wrong
        where.append((broken, named))
    return where


# --- the translation


SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": "^[0-9]+$",
            "x-kubernetes-int-or-string": True,
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "type": {"type": "string", "nullable": True},
        "free": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]}},
            },
        },
    },
}


@pytest.mark.parametrize(
    ("value", "n_errors"),
    [
        ({"amount": 1, "labels": {"any": "thing"}, "type": None, "free": {"b": 1}, "items": [{"name": "x"}]}, 0),
        ({"amount": "1"}, 0),
        ({"amount": "x"}, 1),
        ({"amount": 1.5}, 1),
        ({"labels": {"any": 1}}, 1),
        ({"other": 1}, 1),
        ({"items": [{"nam": "x"}]}, 1),
    ],
)
def test_closed_schemas(value: dict[str, Any], n_errors: int) -> None:
    assert len({error.split(":")[0] for error in errors(closed(SCHEMA), value)}) == n_errors


def test_rules_that_apply() -> None:
    assert list(rules_that_apply(SCHEMA, {"items": [{"name": "x"}]})) == ["self != ''"]
    assert list(rules_that_apply(SCHEMA, {"items": [{}], "labels": {"name": "x"}})) == []
