"""An output that is not what the suspect gives is found by the first images, before a look is spent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import exit_code
from toy_kit import checked_kit, churn_kit
from watched_suspects import asked, copied, sets_of, suspect

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.verification import suspect_task
from uapfp_dist.verification.judging.response_checks import wrong_output
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.first_responses import FirstResponses
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.verify import verify

down = {"after": 0}


def log_odds(images: np.ndarray) -> Any:
    """Logits."""
    return (np.log(np.array(copied(images)) + 1e-9) + 3).tolist()


def percents(images: np.ndarray) -> Any:
    """Of the classes."""
    return (100 * np.array(copied(images))).tolist()


def shrunk(images: np.ndarray) -> Any:
    """What is left to 1 is for no class of the kit."""
    if down["after"] and sum(asked) > down["after"]:
        raise UserError("no more today")
    return (0.8 * np.array(copied(images))).tolist()


def darkened(images: np.ndarray) -> Any:
    """It takes other images than those that it is sent."""
    return copied(images / 255)


def named(function: str, output: str) -> SuspectConfig:
    """A function of this file, or of the watched suspects."""
    if function == "copied":
        return replace(suspect(), name="s", output=output)
    return SuspectConfig(at=f"test_wrong_output:{function}", name="s", output=output)


@pytest.mark.parametrize(
    ("function", "output", "said"),
    [
        ("log_odds", "probabilities", "negative confidences: perhaps logits, ask it with output logits"),
        ("percents", "probabilities", "not normalised: sums from 100 to 100; ask it with output logits if they are"),
        ("shrunk", "probabilities", "sums from 0.8 to 0.8; .* else for labels with output label"),
        ("copied", "logits", "its logits are probabilities: ask it with output probabilities"),
    ],
)
def test_it_is_told_before_a_look_is_spent(function: str, output: str, said: str, tmp_path: Path) -> None:
    kit = churn_kit("light", 19)
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    for _ in range(2):  # the same again sends nothing more
        with pytest.raises(UserError, match=f"its first 12 answers are not what output {output} says .*{said}") as told:
            verify(kit, [named(function, output)], tmp_path / "a", register=register)
        assert "\n" not in str(told.value)
        assert sum(asked) == 12
        assert sets_of(register) == []
    right = {"log_odds": "logits", "copied": "probabilities"}.get(function)
    if right:
        (case,) = verify(kit, [named(function, right)], tmp_path / "a", register=register)
        assert case.verdict.claim == "piracy"
    else:
        (case,) = verify(kit, [named(function, output)], tmp_path / "a", QueryConfig(anyway=True), register=register)
        assert case.verdict.claim == "inconclusive"
        assert any("not normalised" in finding for finding in case.verdict.findings)
    assert [name for name, _, _ in sets_of(register)] == ["s"]


def test_the_rest_of_what_cannot_be_read_is_queried_anyway(tmp_path: Path) -> None:
    """As the message says; the same again without it stops at the first images."""
    unread = named("copied", "label")
    for sent in (1, 12):
        with pytest.raises(UserError, match=r"or give anyway to query the rest|input this model expects") as told:
            verify(checked_kit(), [unread], tmp_path)
        assert ("give anyway to query the rest" in str(told.value)) == (sent == 1)
        assert sum(asked) == sent
    (case,) = verify(checked_kit(), [unread], tmp_path, QueryConfig(anyway=True))
    assert case.verdict.claim == "inconclusive"
    verify(checked_kit(), [unread], tmp_path / "at once", QueryConfig(anyway=True))


def test_it_is_told_without_a_register(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ask it with output logits\); .*nothing counts yet"):
        verify(checked_kit(), [named("log_odds", "probabilities")], tmp_path)
    assert sum(asked) == 12


def test_a_look_that_was_begun_without_the_check_goes_on(
    kit: Kit, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version left it, after images of its set: no other output could mend that."""
    down["after"], how = 14, QueryConfig(batch_size=4)
    with monkeypatch.context() as before:
        assert kit.input_check is not None
        first = FirstResponses(kit.input_check.first)
        before.setattr(suspect_task, "first_responses", lambda *arguments, **options: first)
        with pytest.raises(UserError, match="no more today"):
            verify(kit, [named("shrunk", "probabilities")], tmp_path, how, register=register)
    assert len(sets_of(register)) == 1
    down["after"] = 0
    (case,) = verify(kit, [named("shrunk", "probabilities")], tmp_path, how, register=register)
    assert case.verdict.claim == "inconclusive"
    assert len(sets_of(register)) == 1


@pytest.mark.parametrize(
    ("function", "words", "argument"),
    [
        ("log_odds", ("ask it with --output logits)", "(--anyway goes on)"), "output"),
        ("darkened", ("(--probe-forms tries forms)", "(--anyway goes on)"), "probe-forms"),
    ],
)
def test_the_command_names_its_options(
    function: str, words: tuple[str, ...], argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are typed; in Python they are arguments."""
    save_kit(checked_kit(), tmp_path / "kit")
    at = ("--at", f"test_wrong_output:{function}", "--name", "s", "--no-track")
    assert exit_code("verify", "--kit", str(tmp_path / "kit"), *at, "--out", str(tmp_path / "out")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert [word for word in words if word not in line] == []
    assert line.endswith(f" (option --{argument})")
    with pytest.raises(UserError) as told:
        verify(checked_kit(), [named(function, "probabilities")], tmp_path / "python")
    assert "--" not in str(told.value)


@pytest.mark.parametrize(
    ("output", "responses"),
    [
        ("probabilities", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),  # sure answers are round
        ("probabilities", [[0.9, 0.1, 0.0], [0.3, 0.4, 0.3]]),
        ("probabilities", [[0.33, 0.33, 0.33], [0.98, 0.01, 0.0]]),
        ("probabilities", [[None, None, None], "what"]),  # the input check tells these
        ("logits", [[2.0, -1.0, 0.5], [0.2, 0.2, 0.6]]),
        ("logits", [[None, None, None]]),
        ("label", ["a", "b"]),
        ("top2", [[["a", 0.5], ["b", 0.3]], [["c", 1.0], ["a", 0.0]]]),
    ],
)
def test_what_may_be_sane_is_not_stopped(output: str, responses: list[object]) -> None:
    assert wrong_output(OutputFormat(output, ("a", "b", "c")), responses) == ""
