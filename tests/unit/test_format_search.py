"""The usual forms of images are tried, within the budget, and one is proposed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from faulty_server import Exchange, serving
from input_forms import EXPECTS, reads
from toy_kit import checked_kit, serve, toy_kit, trained

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.verification.format_search import try_formats
from uapfp_dist.verification.kit.input_check import N_FIRST
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.mark.parametrize("name", ["bytes", "[-1, 1]", "another order of dimensions", "no channels", "three channels"])
@pytest.mark.parametrize("output", ["probabilities", "label"])
def test_the_usual_forms_are_tried_and_one_is_proposed(name: str, output: str, tmp_path: Path) -> None:
    image, fields = EXPECTS[name]
    model = reads(image)

    def answer(x: np.ndarray) -> Any:
        return np.array(model(x)).argmax(1).tolist() if output == "label" else model(x)

    def strict(exchange: Exchange) -> bool:
        """A model refuses images of another shape, and a server says 400 or 500."""
        shape = {"NHWC": (8, 8, 1), "NHW": (8, 8), "RGB": (3, 8, 8)}.get(next(iter(fields.values())), (1, 8, 8))
        if exchange.images.shape[1:] == shape:
            return False
        exchange.send(400 if exchange.number % 2 else 500, b"no")
        return True

    with serving(answer, strict) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s", output=output)
        found = try_formats(checked_kit(), config, tmp_path)
        assert sum(tried.queries for tried in found.tried) == endpoint.images
        config = replace(config, **vars(found.tried[0].format))
        (case,) = verify(checked_kit(), [config], tmp_path)
    assert found.tried[0].fits
    assert InputFormat(**fields) in [tried.format for tried in (found.tried[0], *found.equal)]
    assert found.untried == 0
    assert case.verdict.claim == "piracy"


def test_forms_are_tried_within_the_budget_and_not_again(tmp_path: Path) -> None:
    image, _ = EXPECTS["[-1, 1]"]
    with serving(reads(image)) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s")
        found = try_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=40))
        assert [tried.queries for tried in found.tried] == [N_FIRST] * 3
        assert found.untried > 3
        assert endpoint.images == 3 * N_FIRST
        again = try_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=40))
        assert again == found
        assert endpoint.images == 3 * N_FIRST
        with pytest.raises(UserError, match="max_queries: expected at least 12 images"):
            try_formats(checked_kit(), config, tmp_path, QueryConfig(max_queries=5))


@pytest.mark.parametrize(
    ("status", "message", "requests"),
    [(401, "got 401 .*; check headers", 1), (404, "got 404", 1), (400, "no form of input got", None)],
)
def test_nothing_is_proposed_where_nothing_answers(
    status: int, message: str, requests: int | None, tmp_path: Path
) -> None:
    """A refusal that no form can help ends it at once."""

    def refuse(exchange: Exchange) -> bool:
        exchange.send(status, b"no")
        return True

    with serving(serve(trained(0)), refuse) as endpoint:
        with pytest.raises(UserError, match=message):
            try_formats(checked_kit(), SuspectConfig(at=endpoint.url), tmp_path)
        assert endpoint.requests == (requests or endpoint.requests)
    tried: list[object] = []
    with pytest.raises(UserError, match="no connection"):
        try_formats(checked_kit(), SuspectConfig(at="http://127.0.0.1:1"), tmp_path / "dead", on_tried=tried.append)
    assert not tried
    with pytest.raises(UserError, match="expected a function"):
        try_formats(checked_kit(), SuspectConfig(at="no_module:f"), tmp_path / "other")
    with pytest.raises(UserError, match="of an earlier version"):
        try_formats(toy_kit(), SuspectConfig(at="toy_kit:serve"), tmp_path / "other")


def test_the_job_proposes_the_options_that_then_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_kit(checked_kit(), tmp_path / "kit")
    words = ["--kit", str(tmp_path / "kit"), "--at", "input_forms:byte_model", "--no-track"]

    def job(*more: str) -> str:
        run("verify", *words, "--out", str(tmp_path / "out"), *more)
        return capsys.readouterr().out

    proposed = job("--probe-forms").split("proposed")[1].splitlines()[0]
    assert "--scale 0-255" in proposed
    assert ": piracy" in job("--scale", "0-255")
    with pytest.raises(UserError, match="no replay, suspects or anyway"):
        job("--probe-forms", "--anyway")
