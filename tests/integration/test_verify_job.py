"""jobs/verify.py: lists of suspects, what is refused, replays, Ray and MLflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from forgery import forged
from system import ROOT, environment
from toy_kit import toy_kit
from toy_suspects import away

from uapfp_dist.errors import UserError
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.suspect_list import load_suspects


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"at": "x"}', '[{"at": 3}]', '[{"at": "' + "a" * 5000 + '", "scale": "?"}]'], ids=range(4)
)
def test_lists_of_suspects_that_are_none_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load_suspects(tmp_path / "s.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_list_of_suspects(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps([{"at": "http://a", "classes": "c.json"}, {"at": "m.onnx", "output": "logits"}]))
    (tmp_path / "m.onnx").touch()
    found = load_suspects(path)
    assert [(s.at, s.output) for s in found] == [("http://a", "probabilities"), (str(tmp_path / "m.onnx"), "logits")]
    assert found[0].classes == tmp_path / "c.json"
    for text, said in (
        ('[{"url": 1}]', "unknown field 'url'"),
        ("3", "JSON list"),
        ("[3]", "JSON list"),
        ("{", "JSON list"),
        ('[{"at": "http://a", "layout": "nhwc"}]', "layout: expected one of NCHW, NHWC, NHW, flat, got 'nhwc'"),
        ('[{"at": "http://a", "scale": "255"}]', "scale: expected one of"),
        ('[{"at": "http://a", "channels": "bgr"}]', "channels: expected one of"),
        ('[{"at": 5}]', "at: expected str, got 5"),
        ('[{"at": "http://a", "name": 3}]', "name: expected str"),
        ('[{"at": "http://a", "output": 3}]', "output: expected str"),
        ('[{"at": "http://a", "width": "x"}]', "width: expected int"),
        ('[{"at": "http://a", "headers": "x"}]', "headers: expected dict"),
        ('[{"at": "http://a", "headers": {"A": 1}}]', "headers: expected an object"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            load_suspects(path)


def test_files_are_seen_from_the_folder_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from where the command runs, whose files of that name are others."""
    (tmp_path / "list").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "list" / "s.json"
    files = {name: f"sub/{name}" for name in ("request", "ca", "client_certificate", "client_key", "classes")}
    path.write_text(json.dumps([{"at": "https://a", **files}, {"at": "toy_suspects:copied", "classes": None}]))
    first, second = load_suspects(path)
    assert {name: getattr(first, name) for name in files} == {name: path.parent / at for name, at in files.items()}
    assert (second.at, second.classes) == ("toy_suspects:copied", None)
    path.write_text(json.dumps([{"at": "https://a", "ca": "~/ca.pem", "request": str(tmp_path / "r.json")}]))
    (only,) = load_suspects(path)
    assert (only.ca, only.request) == (tmp_path / "home" / "ca.pem", tmp_path / "r.json")
    for at in ("m.onnx", "m.safetensors", "a" * 5000):
        if len(at) < 100:
            (tmp_path / "here" / at).touch()
        path.write_text(json.dumps([{"at": at}]))
        with pytest.raises(UserError, match="expected the file of a suspect as seen from the folder of") as caught:
            load_suspects(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_the_job_refuses_what_makes_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = ("--kit", str(tmp_path / "kit"), "--no-track")
    save_kit(toy_kit("uap"), tmp_path / "kit")
    with pytest.raises(UserError, match="another kit"):
        run("verify", *kit, "--expect", "0" * 64, "--at", "toy_suspects:copied")
    with pytest.raises(UserError, match="address of a suspect, or a file"):
        run("verify", *kit)
    with pytest.raises(UserError, match="expected a file"):
        run("verify", *kit, "--replay", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="expected no alpha"):
        run("verify", *kit, "--replay", str(tmp_path / "nothing"), "--alpha", "0.01")
    with pytest.raises(UserError, match="at least 1"):
        run("verify", *kit, "--at", "toy_suspects:copied", "--max-queries", "0", "--out", str(tmp_path / "out"))


def test_the_job_judges_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A third party comes to the same bytes."""
    digest = save_kit(toy_kit("uap"), tmp_path / "kit")
    kit = ("--kit", str(tmp_path / "kit"), "--expect", digest, "--no-track")
    first, second = tmp_path / "first", tmp_path / "second"
    run("verify", *kit, "--at", "toy_suspects:copied", "--name", "copied", "--out", str(first))
    run("verify", *kit, "--out", str(second), "--replay", str(first / "copied.transcript.jsonl"))
    assert capsys.readouterr().out.count("copied: piracy") == 2
    assert (first / "verdict.json").read_bytes() == (second / "verdict.json").read_bytes()


def test_answers_of_before_are_said_to_be_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another model may answer at that address by now; the verdict is still on the one that answered."""
    digest = save_kit(toy_kit("uap"), tmp_path / "kit")
    words = ("--kit", str(tmp_path / "kit"), "--expect", digest, "--no-track", "--at", "toy_suspects:copied")
    run("verify", *words, "--name", "s", "--out", str(tmp_path / "out"))
    assert "note:" not in capsys.readouterr().out
    run("verify", *words, "--name", "s", "--out", str(tmp_path / "out"))
    said = capsys.readouterr().out
    assert said.count("note: s: nothing was sent, answers of 20") == 1
    assert said.count(digest) == 1
    assert (tmp_path / "out" / "verdict.txt").read_text().endswith(f"\nkit {digest}\n")
    assert "for another model name another --out" in said


def test_a_replay_writes_only_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """./verification is what the first run made; a note tells of another version."""
    save_kit(toy_kit("uap"), tmp_path / "kit")
    monkeypatch.chdir(tmp_path)
    run("verify", "--kit", "kit", "--no-track", "--at", "toy_suspects:copied", "--name", "s")
    first = {path: path.read_bytes() for path in Path("verification").iterdir()}
    assert Path("verification/verdict.html") in first
    path = forged(Path("verification"), Path("elsewhere"), lambda records: records[0].update(made_by={"torch": "\x1b"}))
    capsys.readouterr()
    run("verify", "--kit", "kit", "--replay", str(path))
    out = capsys.readouterr().out
    assert "s: piracy" in out
    assert "verdict.json" not in out
    assert "note: s was queried by torch ?;" in out
    assert {path: path.read_bytes() for path in Path("verification").iterdir()} == first
    assert {path.name for path in Path(".").iterdir()} == {"kit", "verification", "elsewhere"}


def test_the_job_judges_the_others_and_says_who_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_kit(toy_kit("uap"), tmp_path / "kit")
    rows = [{"at": "toy_suspects:copied", "name": "copied"}, {"at": "toy_suspects:sometimes", "name": "sometimes"}]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    where = ("--kit", str(tmp_path / "kit"), "--suspects", str(tmp_path / "s.json"), "--out", str(tmp_path / "out"))
    again = (*where, "--alpha", "0.2", "--workers", "0", "--no-track")
    monkeypatch.setitem(away, "is", True)
    with pytest.raises(UserError, match=r"1 of 2 suspects .*: sometimes \(nobody\? is there\); the others"):
        run("verify", *again)
    assert "copied: piracy" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())["suspects"]
    assert [suspect["claim"] for suspect in found] == ["piracy", "inconclusive"]
    away["is"] = False
    run("verify", *again)
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())["suspects"]
    assert [suspect["claim"] for suspect in found] == ["piracy", "piracy"]


@pytest.mark.slow
def test_the_job_on_ray_into_mlflow(tmp_path: Path) -> None:
    """Three suspects at once, one of which kills whoever asks it; the run holds verdict, page and transcripts."""
    import mlflow

    save_kit(toy_kit("uap"), tmp_path / "kit")
    rows = [{"at": f"toy_suspects:{name}", "name": name} for name in ("copied", "deadly", "noisy")]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    where = (
        "--kit",
        str(tmp_path / "kit"),
        "--suspects",
        str(tmp_path / "s.json"),
        "--out",
        str(out),
        "--alpha",
        "0.2",
    )
    variables = environment(PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support"))))
    command = [sys.executable, str(ROOT / "jobs" / "verify.py"), *where]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 of 3 suspects could not be fully queried: deadly (its worker was lost" in done.stderr
    assert "copied: piracy" in done.stdout
    assert "noisy: inconclusive" in done.stdout
    client = mlflow.MlflowClient(f"sqlite:///{out}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("uapfp_dist").experiment_id])
    assert {r.data.tags.get("claim") for r in runs} == {None, "piracy", "inconclusive"}
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"verdict.json", "verdict.html", "copied.transcript.jsonl", "noisy.transcript.jsonl"} <= files
