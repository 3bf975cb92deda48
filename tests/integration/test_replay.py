"""A verdict again from its transcript: the same bits, and no evidence from a forged one."""

import shutil
from pathlib import Path
from typing import Any

import faulty_server as faults
import pytest
import torch
from faulty_server import serving
from forgery import forged
from toy_kit import serve, toy_kit, trained
from toy_suspects import after_two, judged

import uapfp_dist
from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying import transcript
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import made_elsewhere, replay
from uapfp_dist.verification.reports.verdict_file import verdict_json
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_a_replay_gives_the_same_bits_from_the_transcript_alone(tmp_path: Path) -> None:
    kit = toy_kit("uap")
    with serving(serve(trained(0)), faults.every_third_dropped) as endpoint:
        cases = verify(kit, [SuspectConfig(at=endpoint.url, name="s")], tmp_path)
    write_verdict(tmp_path / "first", kit, cases)
    moved = shutil.copy(transcript_path(tmp_path, "s"), tmp_path / "elsewhere")
    write_verdict(tmp_path / "second", kit, replay(kit, [Path(moved)]))
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    with pytest.raises(UserError, match="another"):
        verify(toy_kit("weighted_errors"), [SuspectConfig(at=endpoint.url, name="s")], tmp_path)


def test_a_replay_wants_just_what_the_kit_asks(tmp_path: Path) -> None:
    """Neither a choice of favourable images nor nonsense with a good chain of digests is evidence."""
    kit = toy_kit()
    with serving(serve(trained(0))) as endpoint:
        judged(endpoint, tmp_path)

    def few(records: list[Any]) -> list[Any]:
        return [*records[:3], records[-1]]

    changes = {
        "just the images": few,
        "larger": lambda records: records[0].update(max_queries=20),
        "line 1": lambda records: records[0].pop("judged") and None,
        "line 1 ": lambda records: records[0]["judged"].update(alpha="x"),
        "line 1  ": lambda records: records[0]["suspect"].update(classes=[[1]]),
        "a record in line 2": lambda records: [records[0], [3], *records[2:]],
        "a record in line 3": lambda records: [*records[:2], {"no": "kind"}, *records[3:]],
        "record in line 3 ": lambda records: records[2].pop("answers") and None,
        "record in line 2": lambda records: records[1].update(images=[float(i) for i in records[1]["images"]]),
        "record in line 2 ": lambda records: records[1].update(images=[*records[1]["images"][:-1], True]),
        "record in line 2  ": lambda records: records[1].update(images="abcd"),
        "record in line 2   ": lambda records: records[1].update(batch=1.0),
        "unknown output": lambda records: records[0]["suspect"].update(output="top" + "9" * 5000),
        "line 1   ": lambda records: records[0]["suspect"].update(width=float("nan")),
        "line 1    ": lambda records: records[0]["suspect"].update(at=[[]]),
        "line 1     ": lambda records: records[0].update(made_by=["me"]),
        "line 1      ": lambda records: records[0].update(max_queries=20.0),
    }
    for said, change in changes.items():
        path = forged(tmp_path, tmp_path / "forged", change)
        with pytest.raises(UserError, match="just the images" if said == "larger" else said.strip()) as caught:
            replay(kit, [path])
        assert len(str(caught.value)) < 500
    assert replay(kit, [forged(tmp_path, tmp_path / "same", lambda records: None)])

    def with_less(records: list[Any]) -> None:
        del records[0]["max_queries"], records[0]["made_by"], records[0]["suspect"]["classes"]

    assert replay(kit, [forged(tmp_path, tmp_path / "less", with_less)])


def test_no_code_that_a_transcript_names_is_imported(tmp_path: Path) -> None:
    """Nor by a kit: what is imported stands in the command, or in the file of suspects."""
    kit = toy_kit()
    with serving(serve(trained(0))) as endpoint:
        judged(endpoint, tmp_path)
    suspect = {"kind": "weights", "at": "x.safetensors", "architecture": "no_such_module:make"}
    path = forged(tmp_path, tmp_path / "forged", lambda records: records[0]["suspect"].update(suspect))
    assert replay(kit, [path])[0].verdict.claim == "piracy"


LETTERS = ("\x1b[2J\x1b[H", "\n", "\r", "\u202e", "\ud800", "\x07")


@pytest.fixture(scope="module")
def one_stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two suspects, s and t, of which t was stopped."""
    out = tmp_path_factory.mktemp("one_stopped")
    with serving(serve(trained(0))) as good, serving(serve(trained(0)), faults.redirect_to("x")) as bad:
        verify(toy_kit(), [SuspectConfig(at=e.url, name=n) for n, e in (("s", good), ("t", bad))], out, alpha=0.2)
    return out


@pytest.mark.parametrize("letter", [*LETTERS, "".join(LETTERS)])
def test_a_name_forges_nothing_that_is_printed(letter: str, one_stopped: Path, tmp_path: Path) -> None:
    """Nor does what stopped a suspect; the JSON holds both as they came. A page is made of all letters at once."""
    kit = toy_kit()
    names = [f"{letter}copied: inconclusive. p 1", f"{letter}other"]

    def rename(records: list[Any]) -> None:
        records[0]["judged"]["names"] = names
        records[0]["suspect"].update(name=names[0], at=letter)

    def rename_stopped(records: list[Any]) -> None:
        records[0]["judged"]["names"] = names
        records[0]["suspect"]["name"] = names[1]
        records[-1]["why"] = f"gone{letter}"

    paths = [forged(one_stopped, tmp_path / "a", rename), forged(one_stopped, tmp_path / "b", rename_stopped, "t")]
    cases = replay(kit, paths)
    assert verdict_json(kit, cases)["suspects"][0]["name"] == names[0]
    text = verdict_text(kit, cases)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.split("\n")) < 25
    if letter not in LETTERS:
        write_verdict(tmp_path / "out", kit, cases)
        page = (tmp_path / "out" / "verdict.html").read_text()
        assert not [one for one in LETTERS if one != "\n" and one in page]
        assert "copied: inconclusive. p 1: piracy" in page


def test_a_replay_says_when_others_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line, not an error; a verification may also be finished by another version than began it."""
    kit, dead = toy_kit(), {"is": True}
    redirects = after_two(faults.redirect_to("x"))
    with serving(serve(trained(0)), lambda exchange: dead["is"] and redirects(exchange)) as endpoint:
        with pytest.raises(UserError, match="redirect"):
            judged(endpoint, tmp_path)
        dead["is"] = False
        monkeypatch.setattr(transcript, "MADE_BY", {"uapfp_dist": "99", "torch": "98"})
        case = judged(endpoint, tmp_path)
    assert case.begin.made_by == {"uapfp_dist": uapfp_dist.__version__, "torch": torch.__version__}
    assert made_elsewhere([case]) == ""

    def made_by(by: Any) -> str:
        path = forged(tmp_path, tmp_path / "forged", lambda records: records[0].update(made_by=by))
        return made_elsewhere(replay(kit, [path]))

    assert made_by(None) == ""
    queried_by = f"s was queried by uapfp_dist {uapfp_dist.__version__}, torch 1.0;"
    assert made_by(case.begin.made_by | {"torch": "1.0"}).startswith(queried_by)
    assert "uapfp_dist 0.0.1" in made_by({"uapfp_dist": "0.0.1", "torch": [3]})
