"""A thousand malformed answers: a line that says what is wrong, or the right value; never an accusation by accident."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import Exchange, serving
from toy_kit import checked_kit, responses_of, serve, trained

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verify import verify

N_ANSWERS = 1000
PER_TEST = 100

Answer = list[list[float]]
Mutation = Callable[[Answer, random.Random], Any]
ODD: list[Any] = [
    None,
    True,
    "",
    "cat",
    -1,
    1e400,
    10**400,
    [],
    {},
    [[]],
    "\u0000",
    "NaN",
    {"label": None},
    [None],
    0.5,
]

pytestmark = pytest.mark.usefixtures("quick_retries")


def each(change: Callable[[list[float], random.Random], Any]) -> Mutation:
    """A change of every answer, or of some of them."""

    def mutate(answer: Answer, rng: random.Random) -> Any:
        share = rng.choice([1.0, 0.5, 0.1])
        return [change(row, rng) if rng.random() < share else row for row in answer]

    return mutate


def one_value(row: list[float], rng: random.Random) -> Any:
    """An odd value among the others."""
    return [rng.choice(ODD) if i == rng.randrange(len(row)) else value for i, value in enumerate(row)]


VALUES: dict[str, Mutation] = {
    "odd answers": each(lambda row, rng: rng.choice(ODD)),
    "odd values": each(one_value),
    "too few classes": each(lambda row, rng: row[: rng.randrange(len(row))]),
    "too many classes": each(lambda row, rng: row + [0.0] * rng.randint(1, 50)),
    "texts": each(lambda row, rng: [str(value) for value in row]),
    "negative": each(lambda row, rng: [-value for value in row]),
    "counts": each(lambda row, rng: [round(100 * value) for value in row]),
    "not normalised": each(lambda row, rng: [value * rng.choice([3, 0.1, 1e30, 1e-30]) for value in row]),
    "zeros": each(lambda row, rng: [0.0] * len(row)),
    "noise": each(lambda row, rng: np.random.default_rng(rng.randrange(9**9)).dirichlet([1.0] * len(row)).tolist()),
    "shuffled classes": each(lambda row, rng: rng.sample(row, len(row))),
    "one class": each(lambda row, rng: [1.0] + [0.0] * (len(row) - 1)),
    "nested": each(lambda row, rng: [[row]]),
    "deep": each(lambda row, rng: json.loads("[" * 30 + "0" + "]" * 30)),
    "unknown names": each(lambda row, rng: {f"class {i}": value for i, value in enumerate(row)}),
    "names twice": each(lambda row, rng: [["0", value] for value in row]),
    "pairs without a confidence": each(lambda row, rng: [{"label": i} for i, _ in enumerate(row)]),
    "long texts": each(lambda row, rng: "x" * rng.randint(1000, 100_000)),
    "another number": lambda answer, rng: answer[: rng.randrange(len(answer))] * rng.choice([1, 3]),
    "one too many": lambda answer, rng: [*answer, answer[0]],
    "transposed": lambda answer, rng: [list(column) for column in zip(*answer, strict=True)],
    "in another order": lambda answer, rng: rng.sample(answer, len(answer)),
    "a number": lambda answer, rng: rng.choice([0, 1.5, -3]),
    "a text": lambda answer, rng: json.dumps(answer),
    "by column": lambda answer, rng: {str(i): list(column) for i, column in enumerate(zip(*answer, strict=True))},
    "a constant": lambda answer, rng: [answer[0]] * len(answer),
}

PLAUSIBLE = ("noise", "shuffled classes", "one class", "in another order", "zeros")
"""What a bad model could say, too."""

Wrapped = Callable[[Any, random.Random], tuple[int, bytes]]


def body(value: Any) -> bytes:
    return json.dumps({"predictions": value}).encode()


WRAPPED: dict[str, Wrapped] = {
    "truncated": lambda answer, rng: (200, body(answer)[: rng.randrange(len(body(answer)))]),
    "bytes": lambda answer, rng: (200, rng.randbytes(rng.randrange(2000))),
    "a page": lambda answer, rng: (200, b"<html><body>Welcome</body></html>"),
    "nothing": lambda answer, rng: (rng.choice([200, 204]), b""),
    "compressed": lambda answer, rng: (200, gzip.compress(body(answer))),
    "UTF-16": lambda answer, rng: (200, body(answer).decode().encode("utf-16")),
    "another key": lambda answer, rng: (200, json.dumps({rng.choice(["outputs", "error", ""]): answer}).encode()),
    "not a number": lambda answer, rng: (
        200,
        body(answer).replace(b"0.", rng.choice([b"NaN", b"-Infinity"]) + b",0.", 3),
    ),
    "a flipped byte": lambda answer, rng: (200, flipped(body(answer), rng)),
    "another status": lambda answer, rng: (rng.choice([*range(201, 600, 7), 999]), body(answer)),
    "an error as a reply": lambda answer, rng: (200, b'{"error_code": "BAD_REQUEST", "message": "no"}'),
    "endless brackets": lambda answer, rng: (200, b"[" * rng.randint(100, 200_000)),
}


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One byte is another one."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def malformed(seed: int) -> tuple[str, Callable[[Exchange], bool]]:
    """(its name, an endpoint that answers so from some request on)."""
    rng = random.Random(seed)
    name = rng.choice([*VALUES, *WRAPPED])
    begin = rng.choice([1, 1, 1, 3, 5])

    def respond(exchange: Exchange) -> bool:
        if exchange.number < begin:
            return False
        answer = exchange.endpoint.model(exchange.images)
        mine = random.Random(f"{seed}/{exchange.number}")
        if name in VALUES:
            status, data = 200, body(VALUES[name](answer, mine))
        else:
            status, data = WRAPPED[name](answer, mine)
        exchange.send(status, data)
        return True

    return name, respond


def case_or_line(kit: Kit, config: SuspectConfig, out: Path, how: QueryConfig) -> JudgedSuspect | str:
    """The verdict, or why there is none."""
    try:
        return verify(kit, [config], out, how)[0]
    except UserError as error:
        return str(error)


@pytest.mark.parametrize(
    "part",
    [
        0,
        *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 4)),
        *(pytest.param(i, marks=pytest.mark.heavy) for i in range(4, N_ANSWERS // PER_TEST)),
    ],
)
def test_malformed_answers_accuse_nobody(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answers are those of a stolen model, malformed. Bounded in time, and nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    kit = checked_kit("uap" if part % 2 else "weighted_errors")
    right = responses_of(trained(0), kit.images)
    how = QueryConfig(tries=2, timeout=2.0, total_timeout=5.0, anyway=part % 3 == 0)
    for seed in range(part * PER_TEST, (part + 1) * PER_TEST):
        name, respond = malformed(seed)
        out = tmp_path / "out" / str(seed)
        with serving(serve(trained(0)), respond) as endpoint:
            output = random.Random(seed).choice(["probabilities", "top3"])
            config = SuspectConfig(at=endpoint.url, name="s", output=output)
            case = case_or_line(kit, config, out, how)
        if isinstance(case, str):
            assert case.isprintable(), (seed, name)
            assert len(case) < 2000, (seed, name)
            continue
        label_of = case.probabilities.argmax(1) == right.argmax(1)
        close = (case.probabilities - right).abs().amax(1) < 1e-4
        own = float((close if config.output == "probabilities" else label_of).double().mean())
        # Noise in a tenth of its answers does not hide a stolen model.
        assert case.verdict.claim == "inconclusive" or own > 0.8, (seed, name)
        assert own == 1.0 or case.verdict.findings or name in PLAUSIBLE, (seed, name)
    assert not caplog.records  # an internal error is logged whole
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert all(path.name == "s.transcript.jsonl" for path in (tmp_path / "out").glob("*/*"))
