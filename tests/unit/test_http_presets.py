"""Every named protocol: a stolen model is claimed, an independent one is not, and the server counts as the ledger."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from protocol_servers import (
    Protocol,
    hugging_face,
    instances,
    mlflow,
    sagemaker,
    sagemaker_image,
    serving_protocol,
    torchserve,
    upload,
    vertex_image,
)
from toy_kit import negative, responses_of, serve, toy_kit, trained

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.http_presets import PRESETS
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")

SERVERS: dict[str, tuple[Protocol, str, str]] = {
    "mlflow": (mlflow, "", "probabilities"),
    "mlflow-instances": (mlflow, "", "probabilities"),
    "mlflow-dataframe": (mlflow, "/invocations", "probabilities"),
    "tensorflow-serving": (instances, "/v1/models/m", "probabilities"),
    "kserve-v1": (instances, "/v1/models/m:predict", "probabilities"),
    "torchserve": (torchserve, "/predictions/m", "top5"),
    "huggingface": (hugging_face, "/models/m", "top5"),
    "sagemaker": (sagemaker, "", "probabilities"),
    "sagemaker-image": (sagemaker_image, "", "probabilities"),
    "vertex": (instances, "/v1/projects/p/locations/l/endpoints/1", "probabilities"),
    "vertex-image": (vertex_image, "/v1/projects/p/locations/l/endpoints/1:predict", "probabilities"),
    "bentoml": (upload("image"), "/classify", "label"),
    "fastapi": (upload("file"), "/predict/", "label"),
}
"""The server, the path that its owner names, what it returns."""


def test_every_preset_has_a_server() -> None:
    assert SERVERS.keys() == PRESETS.keys()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_verification(kind: str, tmp_path: Path) -> None:
    """Claims, scores of the local model, the ledger, resumption, replay."""
    protocol, path, output = SERVERS[kind]
    kit = toy_kit()
    for name, net, claim in (("stolen", trained(0), "piracy"), ("independent", negative(), "inconclusive")):
        with serving_protocol(protocol, serve(net)) as server:
            config = SuspectConfig(at=server.url + path, kind=kind, name=name, output=output)
            (case,) = verify(kit, [config], tmp_path / name, QueryConfig(max_queries=300))
            assert case.verdict.claim == claim
            assert server.images == case.ledger.queries <= 300
            (again,) = verify(kit, [config], tmp_path / name, QueryConfig(max_queries=300))
            assert server.images == again.ledger.queries == case.ledger.queries
        (replayed,) = replay(kit, [transcript_path(tmp_path / name, name)])
        assert replace(replayed.verdict) == case.verdict
        if output == "probabilities":
            assert (case.probabilities - responses_of(net, kit.images)).abs().max() < 1e-6
        if output == "label":
            assert torch.equal(case.probabilities.argmax(1), responses_of(net, kit.images).argmax(1))
